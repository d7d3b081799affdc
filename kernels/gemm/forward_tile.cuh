// A block's tile of y = x · weightᵀ + bias with many rows.
#pragma once

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
