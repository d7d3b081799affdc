// d_x[m, k] = d_y[m, n] · weight[n, k]: one chain over n. Reads m · n + n · k bf16, writes m · k f32.
#include "gemm/block_tile.cuh"
#include "gemm/gemm.h"

template <class Tile>
__device__ __forceinline__ void backward_input(const GemmBackwardInputParams& p) {
  const Tile tile(p.m, p.k);
  typename Tile::Sums sums = {};
  tile.multiply(sums, typename Tile::Left::Loader(p.d_y, p.ld_d_y, p.m, p.n, tile.first_row, 0),
                typename Tile::Right::Loader(p.weight, p.ld_weight, p.n, p.k, 0, tile.first_col), p.n, [](uint32_t) {});
  const bool aligned = p.ld_d_x % 2 == 0;
  tile.for_each_pair(sums, p.m, p.k, [&](uint32_t row, uint32_t col, float first, float second) {
    write_pair(p.d_x + static_cast<int64_t>(row) * p.ld_d_x, col, p.k, aligned, first, second);
  });
}

using Wide = BlockTile<128, 256, 64, 64, 4, Layout::SumAlongRows, Layout::SumAlongColumns>;
using Square = BlockTile<128, 128, 64, 64, 4, Layout::SumAlongRows, Layout::SumAlongColumns>;

GRADUS_KERNEL(Wide::kThreads, gemm_backward_input_128x256, GemmBackwardInputParams) { backward_input<Wide>(p); }
GRADUS_KERNEL(Square::kThreads, gemm_backward_input_128x128, GemmBackwardInputParams) { backward_input<Square>(p); }
