// bf16 and vectors of it: our own types, so that the same source compiles with and without CUDA's headers.
#pragma once

#include "common/device.cuh"
#include "common/ptx.cuh"

/// Upper half of an f32. Conversions: nearest even, denormals kept, every NaN becomes 0x7fff.
struct bf16 {
  uint16_t bits;
};

/// Two bf16 in one register, the first one in the low half.
struct alignas(4) bf16x2 {
  uint32_t bits;
};

__device__ __forceinline__ uint32_t bits_of(float value) {
#ifdef GRADUS_SIM
  return sim::bits_of(value);
#else
  return __float_as_uint(value);
#endif
}

__device__ __forceinline__ float float_of(uint32_t bits) {
#ifdef GRADUS_SIM
  return sim::float_of(bits);
#else
  return __uint_as_float(bits);
#endif
}

__device__ __forceinline__ float to_float(bf16 value) { return float_of(uint32_t{value.bits} << 16); }
__device__ __forceinline__ float low_float(bf16x2 pair) { return float_of(pair.bits << 16); }
__device__ __forceinline__ float high_float(bf16x2 pair) { return float_of(pair.bits & 0xffff0000u); }

__device__ __forceinline__ bf16x2 to_bf16x2(float low, float high) { return bf16x2{ptx::cvt_rn_bf16x2_f32(high, low)}; }
__device__ __forceinline__ bf16 to_bf16(float value) {
  return bf16{static_cast<uint16_t>(ptx::cvt_rn_bf16x2_f32(0.0f, value))};
}
/// `value` rounded to bf16, as an f32.
__device__ __forceinline__ float rounded_to_bf16(float value) {
  return float_of(ptx::cvt_rn_bf16x2_f32(0.0f, value) << 16);
}

/// N elements that are read and written at once; the address is a multiple of the whole size, at most 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N) Vector {
  static_assert(sizeof(T) * N <= 16, "one access moves at most 16 bytes");
  T at[N];
  __device__ __forceinline__ T& operator[](int i) { return at[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return at[i]; }
};

template <int N, class T>
__device__ __forceinline__ Vector<T, N> load_vector(const T* from) {
  return *reinterpret_cast<const Vector<T, N>*>(from);
}
template <int N, class T>
__device__ __forceinline__ void store_vector(T* to, const Vector<T, N>& value) {
  *reinterpret_cast<Vector<T, N>*>(to) = value;
}

/// Element types of activations as kernels see them: read to f32, written from f32.
__device__ __forceinline__ float read_element(const float* from) { return *from; }
__device__ __forceinline__ float read_element(const bf16* from) { return to_float(*from); }
__device__ __forceinline__ void write_element(float* to, float value) { *to = value; }
__device__ __forceinline__ void write_element(bf16* to, float value) { *to = to_bf16(value); }
