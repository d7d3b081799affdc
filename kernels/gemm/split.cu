// y[m, n] = x[m, k] · weightᵀ with the sum split over blocks: what the numerics contract forbids, because a row's bits would depend on the
// shape of its batch. The engine launches none of these: the benchmark of the contract's cost compares them with the kernels that it does
// launch. Block z sums a share of k into parts[z][m, n]; gemm_sum_parts adds the parts. Reads the same operands, and writes and reads
// grid.z · m · n f32 besides.
#include "gemm/decode_tile.cuh"
#include "gemm/forward_tile.cuh"

/// The product over the share of k that is this block's: a multiple of 128 indices, none past the end; the host splits so that every share
/// has some. `p.y` is parts[0].
__device__ __forceinline__ GemmForwardParams share_of_sum(const GemmForwardParams& p) {
  const uint32_t length = ceil_div<uint32_t>(ceil_div<uint32_t>(p.k, gridDim.z), 128) * 128;
  const uint32_t first = min(blockIdx.z * length, p.k);
  GemmForwardParams share = p;
  share.x += first;
  share.weight += first;
  share.y = static_cast<float*>(p.y) + static_cast<int64_t>(blockIdx.z) * p.m * p.ld_y;
  share.k = min(length, p.k - first);
  return share;
}

using SplitNarrow = DecodeTile<16, 32, 8>;
using SplitBroad = DecodeTile<64, 32, 4>;
using SplitSquare = BlockTile<128, 128, 64, 64, 4, Layout::SumAlongRows, Layout::SumAlongRows>;

GRADUS_KERNEL(SplitNarrow::kThreads, gemm_split_16x32, GemmForwardParams) { SplitNarrow::run<float>(share_of_sum(p)); }
GRADUS_KERNEL(SplitBroad::kThreads, gemm_split_64x32, GemmForwardParams) { SplitBroad::run<float>(share_of_sum(p)); }
GRADUS_KERNEL(SplitSquare::kThreads, gemm_split_128x128, GemmForwardParams) {
  forward<SplitSquare, float>(share_of_sum(p));
}

GRADUS_KERNEL(256, gemm_sum_parts, GemmSumPartsParams) {
  const uint64_t i = uint64_t{blockIdx.x} * 256 + threadIdx.x;
  if (i >= p.elements) return;
  float sum = p.parts[i];
  for (uint32_t part = 1; part < p.count; ++part) sum += p.parts[part * p.elements + i];
  p.y[i] = to_bf16(sum);
}
