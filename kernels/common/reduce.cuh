// Sums and maxima over a warp or a block by fixed trees: a result depends on the values and their places, never on
// timing.
#pragma once

#include "common/device.cuh"
#include "common/elementary.cuh"

/// Σ over the warp's lanes, in every lane: lane i += lane i ^ 16, then ^ 8, 4, 2, 1.
template <class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2) value += __shfl_xor_sync(kFullMask, value, lanes);
  return value;
}

/// The largest value of the warp's lanes, in every lane.
__device__ __forceinline__ float warp_max(float value) {
#pragma unroll
  for (int lanes = kWarpSize / 2; lanes > 0; lanes /= 2)
    value = larger(__shfl_xor_sync(kFullMask, value, lanes), value);
  return value;
}

/// Σ over a block of WARPS warps, in every thread: each warp's tree, then the warps' sums in the same tree.
/// `scratch` is shared memory for WARPS values; the block has passed a barrier since its last use.
template <int WARPS, class T>
__device__ __forceinline__ T block_sum(T value, T* scratch) {
  static_assert(WARPS <= static_cast<int>(kWarpSize), "one value a lane");
  value = warp_sum(value);
  if (lane_index() == 0) scratch[warp_index()] = value;
  __syncthreads();
  return warp_sum(lane_index() < WARPS ? scratch[lane_index()] : T{0});
}

/// The largest value of a block of WARPS warps, in every thread; `scratch` as in block_sum.
template <int WARPS>
__device__ __forceinline__ float block_max(float value, float* scratch) {
  static_assert(WARPS <= static_cast<int>(kWarpSize), "one value a lane");
  value = warp_max(value);
  if (lane_index() == 0) scratch[warp_index()] = value;
  __syncthreads();
  return warp_max(lane_index() < WARPS ? scratch[lane_index()] : -kInfinity);
}
