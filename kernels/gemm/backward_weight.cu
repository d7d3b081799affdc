// d_weight[n, k] += d_yᵀ[n, m] · x[m, k]. Reads m · (n + k) bf16, reads and writes n · k f32.
// Each 64 rows of the batch make one partial sum, a chain of four k16 steps from 0; partial sums are added to the
// gradient in order, rounded each time. So micro-batches of a multiple of 64 rows give the bits of the whole batch.
#include "gemm/block_tile.cuh"
#include "gemm/gemm.h"

using Square = BlockTile<128, 128, 64, 32, 4, Layout::SumAlongColumns, Layout::SumAlongColumns>;
constexpr uint32_t kStagesPerBlock = kGradientBlock / Square::kStep;

GRADUS_KERNEL(Square::kThreads, gemm_backward_weight_128x128, GemmBackwardWeightParams) {
  const Square tile(p.n, p.k);
  Square::Sums gradient = {};
  const bool aligned = p.ld_d_weight % 2 == 0;
  tile.for_each_pair(gradient, p.n, p.k, [&](uint32_t row, uint32_t col, float& first, float& second) {
    const float* from = p.d_weight + static_cast<int64_t>(row) * p.ld_d_weight + col;
    if (aligned && col + 1 < p.k) {
      const Vector<float, 2> pair = load_vector<2>(from);
      first = pair[0];
      second = pair[1];
    } else {
      first = from[0];
      if (col + 1 < p.k) second = from[1];
    }
  });

  const uint32_t stages = ceil_div<uint32_t>(p.m, Square::kStep);
  Square::Sums partial = {};
  tile.multiply(partial, Square::Left::Loader(p.d_y, p.ld_d_y, p.m, p.n, 0, tile.first_row),
                Square::Right::Loader(p.x, p.ld_x, p.m, p.k, 0, tile.first_col), p.m, [&](uint32_t stage) {
                  if ((stage + 1) % kStagesPerBlock != 0 && stage + 1 != stages) return;
#pragma unroll
                  for (int i = 0; i < Square::kLeftFragments; ++i) {
#pragma unroll
                    for (int j = 0; j < Square::kRightFragments; ++j) {
#pragma unroll
                      for (int e = 0; e < 4; ++e) {
                        gradient[i][j][e] += partial[i][j][e];
                        partial[i][j][e] = 0.0f;
                      }
                    }
                  }
                });

  tile.for_each_pair(gradient, p.n, p.k, [&](uint32_t row, uint32_t col, float first, float second) {
    write_pair(p.d_weight + static_cast<int64_t>(row) * p.ld_d_weight, col, p.k, aligned, first, second);
  });
}
