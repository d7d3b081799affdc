// sums[n] += column sums of x[m, n], the gradient of a bias. Reads m · n f32.
// A warp adds up 64 rows of 32 columns, row by row; warp 0 adds the 32 partial sums of a round to the result in order.
#include "common/device.cuh"
#include "gemm/gemm.h"

constexpr uint32_t kRowsPerSum = 64;
constexpr uint32_t kWarps = 32;
constexpr uint32_t kSumsStride = 33;  // one more than the lanes: a column of sums lies in different banks

GRADUS_KERNEL(kWarps* kWarpSize, column_sum, ColumnSumParams) {
  float* partial = smem<float>();  // [kWarps][kSumsStride]
  const uint32_t col = blockIdx.x * kWarpSize + lane_index();
  const bool inside = col < p.n;
  float total = inside && warp_index() == 0 ? p.sums[col] : 0.0f;
  for (uint32_t round = 0; round < p.m; round += kWarps * kRowsPerSum) {
    const uint32_t first = round + warp_index() * kRowsPerSum;
    const uint32_t end = min(first + kRowsPerSum, p.m);
    float sum = 0.0f;
    if (inside) {
      for (uint32_t row = first; row < end; ++row) sum += p.x[static_cast<int64_t>(row) * p.ld_x + col];
    }
    partial[warp_index() * kSumsStride + lane_index()] = sum;
    __syncthreads();
    if (warp_index() == 0) {
      const uint32_t sums = min(ceil_div(p.m - round, kRowsPerSum), kWarps);
      for (uint32_t i = 0; i < sums; ++i) total += partial[i * kSumsStride + lane_index()];
    }
    __syncthreads();
  }
  if (inside && warp_index() == 0) p.sums[col] = total;
}
