// y[m, n] = x[m, k] · weightᵀ + bias for many rows: training, prefill, `score`. Reads (m + n) · k bf16, writes m · n.
// The tile of 128 x 256 feeds Hopper from L2; the one of 128 x 128 fills the chip at fewer rows. Equal bits.
#include "gemm/forward_tile.cuh"

using Wide = BlockTile<128, 256, 64, 64, 4, Layout::SumAlongRows, Layout::SumAlongRows>;
using Square = BlockTile<128, 128, 64, 64, 4, Layout::SumAlongRows, Layout::SumAlongRows>;

GRADUS_KERNEL(Wide::kThreads, gemm_forward_128x256_bf16, GemmForwardParams) { forward<Wide, bf16>(p); }
GRADUS_KERNEL(Wide::kThreads, gemm_forward_128x256_f32, GemmForwardParams) { forward<Wide, float>(p); }
GRADUS_KERNEL(Square::kThreads, gemm_forward_128x128_bf16, GemmForwardParams) { forward<Square, bf16>(p); }
GRADUS_KERNEL(Square::kThreads, gemm_forward_128x128_f32, GemmForwardParams) { forward<Square, float>(p); }
