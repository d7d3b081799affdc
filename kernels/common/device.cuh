// The words of CUDA that kernels use, for both compilers: first include of every kernel.
// nvcc knows them; under GRADUS_SIM, g++ gets them from the simulator.
#pragma once

#include <cstdint>

#ifdef GRADUS_SIM
#include "sim/device.h"
#else
extern __shared__ __align__(128) unsigned char gradus_shared_memory[];

/// The block's dynamic shared memory from `offset` bytes on.
template <class T>
__device__ __forceinline__ T* smem(uint32_t offset = 0) {
  return reinterpret_cast<T*>(gradus_shared_memory + offset);
}
#endif

/// Lanes of a warp, and the mask that every collective takes.
constexpr uint32_t kWarpSize = 32;
constexpr uint32_t kFullMask = 0xffffffffu;

/// The entry point of a kernel: one parameter struct, read where it lies.
#ifdef GRADUS_SIM
#define GRADUS_KERNEL(threads_max, name, Params) extern "C" void name(const Params p)
#else
#define GRADUS_KERNEL(threads_max, name, Params) \
  extern "C" __global__ void __launch_bounds__(threads_max) name(const __grid_constant__ Params p)
#endif

__device__ __forceinline__ uint32_t lane_index() { return threadIdx.x % kWarpSize; }
__device__ __forceinline__ uint32_t warp_index() { return threadIdx.x / kWarpSize; }

template <class T>
__device__ __forceinline__ constexpr T ceil_div(T value, T divisor) {
  return (value + divisor - 1) / divisor;
}
