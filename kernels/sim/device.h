// What a kernel sees of the simulator: CUDA's words and the meaning of ptx.cuh, as functions of the runtime beside this
// file. Included by common/device.cuh alone. Everything here is compiled without checks; what the kernel itself reads
// and writes is checked by tsan.cpp.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))

namespace sim {

struct Index {
  uint32_t x, y, z;
};

// A thread's place never changes while its kernel runs, hence `const`.
__attribute__((const)) Index thread_index();
__attribute__((const)) Index block_index();
__attribute__((const)) Index block_size();
__attribute__((const)) Index grid_size();
__attribute__((const)) unsigned char* shared_memory();

void sync_threads();
void sync_warp(uint32_t mask);
enum class Shuffle : uint32_t { Index, Xor, Up, Down };
uint64_t shuffle(uint32_t mask, Shuffle how, uint64_t value, uint32_t operand);
uint32_t ballot(uint32_t mask, bool predicate);

enum class Atomic : uint32_t { Add, Max, Min, Or, And, Exchange };
uint32_t atomic_u32(Atomic what, uint32_t* at, uint32_t value);
uint64_t atomic_u64(Atomic what, uint64_t* at, uint64_t value);
uint32_t atomic_compare_exchange(uint32_t* at, uint32_t expected, uint32_t value);
float atomic_add_f32(float* at, float value);

uint32_t shared_address(const void* pointer);
void mma_bf16(float* d, const uint32_t* a, const uint32_t* b);
void ldmatrix(uint32_t* registers, uint32_t matrices, bool transposed, uint32_t row);
void cp_async_16(uint32_t to, const void* from, uint32_t bytes);
void cp_async_commit();
void cp_async_wait(uint32_t groups);

template <class To, class From>
__forceinline__ To bit_copy(From from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  return __builtin_bit_cast(To, from);
}
__forceinline__ uint32_t bits_of(float value) { return __builtin_bit_cast(uint32_t, value); }
__forceinline__ float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }

__forceinline__ uint32_t bf16_bits(float value) {
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu;
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}
__forceinline__ uint32_t cvt_rn_bf16x2_f32(float high, float low) { return bf16_bits(high) << 16 | bf16_bits(low); }

__forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) { mma_bf16(d, a, b); }
__forceinline__ void ldmatrix_x1(uint32_t (&r)[1], uint32_t row) { ldmatrix(r, 1, false, row); }
__forceinline__ void ldmatrix_x1_trans(uint32_t (&r)[1], uint32_t row) { ldmatrix(r, 1, true, row); }
__forceinline__ void ldmatrix_x2(uint32_t (&r)[2], uint32_t row) { ldmatrix(r, 2, false, row); }
__forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t row) { ldmatrix(r, 2, true, row); }
__forceinline__ void ldmatrix_x4(uint32_t (&r)[4], uint32_t row) { ldmatrix(r, 4, false, row); }
__forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t row) { ldmatrix(r, 4, true, row); }
template <int N>
__forceinline__ void cp_async_wait_group() {
  cp_async_wait(N);
}

template <class T>
__forceinline__ T shuffle_value(uint32_t mask, Shuffle how, T value, uint32_t operand) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
  if constexpr (sizeof(T) == 4) {
    return __builtin_bit_cast(T,
                              static_cast<uint32_t>(shuffle(mask, how, __builtin_bit_cast(uint32_t, value), operand)));
  } else {
    return __builtin_bit_cast(T, shuffle(mask, how, __builtin_bit_cast(uint64_t, value), operand));
  }
}

}  // namespace sim

#define threadIdx (::sim::thread_index())
#define blockIdx (::sim::block_index())
#define blockDim (::sim::block_size())
#define gridDim (::sim::grid_size())

template <class T>
__forceinline__ T* smem(uint32_t offset = 0) {
  return reinterpret_cast<T*>(::sim::shared_memory() + offset);
}

__forceinline__ void __syncthreads() { ::sim::sync_threads(); }
__forceinline__ void __syncwarp(uint32_t mask = 0xffffffffu) { ::sim::sync_warp(mask); }
__forceinline__ void __threadfence() {}
template <class T>
__forceinline__ T __shfl_sync(uint32_t mask, T value, int lane) {
  return ::sim::shuffle_value(mask, ::sim::Shuffle::Index, value, static_cast<uint32_t>(lane));
}
template <class T>
__forceinline__ T __shfl_xor_sync(uint32_t mask, T value, int lanes) {
  return ::sim::shuffle_value(mask, ::sim::Shuffle::Xor, value, static_cast<uint32_t>(lanes));
}
template <class T>
__forceinline__ T __shfl_up_sync(uint32_t mask, T value, uint32_t delta) {
  return ::sim::shuffle_value(mask, ::sim::Shuffle::Up, value, delta);
}
template <class T>
__forceinline__ T __shfl_down_sync(uint32_t mask, T value, uint32_t delta) {
  return ::sim::shuffle_value(mask, ::sim::Shuffle::Down, value, delta);
}
__forceinline__ uint32_t __ballot_sync(uint32_t mask, int predicate) { return ::sim::ballot(mask, predicate != 0); }
__forceinline__ int __any_sync(uint32_t mask, int predicate) { return ::sim::ballot(mask, predicate != 0) != 0; }
__forceinline__ int __all_sync(uint32_t mask, int predicate) {
  return ::sim::ballot(mask, predicate != 0) == 0xffffffffu;
}
__forceinline__ int __popc(uint32_t bits) { return __builtin_popcount(bits); }
__forceinline__ int __clz(uint32_t bits) { return bits == 0 ? 32 : __builtin_clz(bits); }
__forceinline__ int __ffs(uint32_t bits) { return __builtin_ffs(static_cast<int>(bits)); }
__forceinline__ uint32_t __umulhi(uint32_t a, uint32_t b) { return static_cast<uint32_t>((uint64_t{a} * b) >> 32); }

__forceinline__ float atomicAdd(float* at, float value) { return ::sim::atomic_add_f32(at, value); }
__forceinline__ uint32_t atomicAdd(uint32_t* at, uint32_t value) {
  return ::sim::atomic_u32(::sim::Atomic::Add, at, value);
}
__forceinline__ uint32_t atomicMax(uint32_t* at, uint32_t value) {
  return ::sim::atomic_u32(::sim::Atomic::Max, at, value);
}
__forceinline__ uint32_t atomicMin(uint32_t* at, uint32_t value) {
  return ::sim::atomic_u32(::sim::Atomic::Min, at, value);
}
__forceinline__ uint32_t atomicOr(uint32_t* at, uint32_t value) {
  return ::sim::atomic_u32(::sim::Atomic::Or, at, value);
}
__forceinline__ unsigned long long atomicAdd(unsigned long long* at, unsigned long long value) {
  return ::sim::atomic_u64(::sim::Atomic::Add, reinterpret_cast<uint64_t*>(at), value);
}
__forceinline__ uint32_t atomicCAS(uint32_t* at, uint32_t expected, uint32_t value) {
  return ::sim::atomic_compare_exchange(at, expected, value);
}

template <class T>
__forceinline__ constexpr T min(T a, T b) {
  return b < a ? b : a;
}
template <class T>
__forceinline__ constexpr T max(T a, T b) {
  return a < b ? b : a;
}
