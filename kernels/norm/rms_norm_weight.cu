// d_weight[dim] += Σ over rows of d_out · sum · rstd. Reads 6 bytes an element.
// A warp adds up 64 rows of 32 columns, row by row; warp 0 adds the 32 partial sums of a round to the result in order.
#include "common/elementary.cuh"
#include "common/types.cuh"
#include "norm/norm.h"

constexpr uint32_t kRowsPerSum = 64;
constexpr uint32_t kWarps = 32;
constexpr uint32_t kSumsStride = 33;  // one more than the lanes: a column of sums lies in different banks

GRADUS_KERNEL(kWarps* kWarpSize, rms_norm_weight, RmsNormWeightParams) {
  float* partial = smem<float>();  // [kWarps][kSumsStride]
  const uint32_t col = blockIdx.x * kWarpSize + lane_index();
  const bool inside = col < p.dim;
  float total = inside && warp_index() == 0 ? p.d_weight[col] : 0.0f;
  for (uint32_t round = 0; round < p.rows; round += kWarps * kRowsPerSum) {
    const uint32_t first = round + warp_index() * kRowsPerSum;
    const uint32_t end = min(first + kRowsPerSum, p.rows);
    float sum = 0.0f;
    if (inside) {
      for (uint32_t row = first; row < end; ++row) {
        const int64_t at = static_cast<int64_t>(row) * p.dim + col;
        sum = fused(p.d_out[at], to_float(p.sum[at]) * p.rstd[row], sum);
      }
    }
    partial[warp_index() * kSumsStride + lane_index()] = sum;
    __syncthreads();
    if (warp_index() == 0) {
      const uint32_t sums = min(ceil_div(p.rows - round, kRowsPerSum), kWarps);
      for (uint32_t i = 0; i < sums; ++i) total += partial[i * kSumsStride + lane_index()];
    }
    __syncthreads();
  }
  if (inside && warp_index() == 0) p.d_weight[col] = total;
}
