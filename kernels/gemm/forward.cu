// y[m, n] = x[m, k] · weightᵀ + bias for many rows: training, prefill, `score`. Reads (m + n) · k bf16, writes m · n.
// The tile of 128 x 256 feeds Hopper from L2; the one of 128 x 128 fills the chip at fewer rows. Equal bits.
#include "gemm/block_tile.cuh"
#include "gemm/gemm.h"

template <class Tile, class Out>
__device__ __forceinline__ void forward(const GemmForwardParams& p) {
  const Tile tile(p.m, p.n);
  typename Tile::Sums sums = {};
  tile.multiply(sums, typename Tile::Left::Loader(p.x, p.ld_x, p.m, p.k, tile.first_row, 0),
                typename Tile::Right::Loader(p.weight, p.ld_weight, p.n, p.k, tile.first_col, 0), p.k, [](uint32_t) {});
  Out* y = static_cast<Out*>(p.y);
  const bool aligned = p.ld_y % 2 == 0;
  tile.for_each_pair(sums, p.m, p.n, [&](uint32_t row, uint32_t col, float first, float second) {
    if (p.bias != nullptr) {
      first += to_float(p.bias[col]);
      if (col + 1 < p.n) second += to_float(p.bias[col + 1]);
    }
    write_pair(y + static_cast<int64_t>(row) * p.ld_y, col, p.n, aligned, first, second);
  });
}

using Wide = BlockTile<128, 256, 64, 64, 4, Layout::SumAlongRows, Layout::SumAlongRows>;
using Square = BlockTile<128, 128, 64, 64, 4, Layout::SumAlongRows, Layout::SumAlongRows>;

GRADUS_KERNEL(Wide::kThreads, gemm_forward_128x256_bf16, GemmForwardParams) { forward<Wide, bf16>(p); }
GRADUS_KERNEL(Wide::kThreads, gemm_forward_128x256_f32, GemmForwardParams) { forward<Wide, float>(p); }
GRADUS_KERNEL(Square::kThreads, gemm_forward_128x128_bf16, GemmForwardParams) { forward<Square, bf16>(p); }
GRADUS_KERNEL(Square::kThreads, gemm_forward_128x128_f32, GemmForwardParams) { forward<Square, float>(p); }
