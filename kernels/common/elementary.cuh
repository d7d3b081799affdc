// The elementary functions of every kernel: the polynomials of the CPU backend, each fused multiply-add written out, so
// that nvcc (-fmad=false) and g++ (-ffp-contract=off) give the same bits. No kernel calls the mathematics library.
#pragma once

#include <cmath>

#include "common/device.cuh"
#include "common/types.cuh"

/// a · b + c, rounded once.
__device__ __forceinline__ float fused(float a, float b, float c) {
#ifdef GRADUS_SIM
  return __builtin_fmaf(a, b, c);
#else
  return __fmaf_rn(a, b, c);
#endif
}

/// The correctly rounded square root.
__device__ __forceinline__ float square_root(float value) {
#ifdef GRADUS_SIM
  return __builtin_sqrtf(value);
#else
  return __fsqrt_rn(value);
#endif
}

/// The larger one; a NaN on the right is returned, one on the left is not (as the vector units of CPUs have it).
__device__ __forceinline__ float larger(float a, float b) { return a > b ? a : b; }

constexpr float kInfinity = __builtin_huge_valf();
/// ln 2 in two parts: multiples of the first one by an exponent are exact.
constexpr float kLn2High = 0.69314575f;
constexpr float kLn2Low = 1.4286068e-6f;
constexpr float kLog2E = 1.4426950408889634f;

/// eˣ within 1 ulp; 0 where that is below the smallest normal number, infinity from 88.3763 on, NaN of NaN.
/// x = n·ln 2 + r; a polynomial for eʳ (coefficients of Cephes' expf) times 2ⁿ.
__device__ __forceinline__ float exp_f32(float x) {
  // 1.5 · 2²³ + 127: adding it rounds to an integer, and leaves n + 127 in the low bits.
  constexpr float kShifter = 12582912.0f + 127.0f;
  // At these ends n is −127 and 128: 2ⁿ is 0 and infinity. A NaN fails both comparisons and stays.
  float bounded = x < -88.0f ? -88.0f : x;
  bounded = bounded > 89.0f ? 89.0f : bounded;
  const float shifted = fused(bounded, kLog2E, kShifter);
  const float n = shifted - kShifter;
  const float r = fused(n, -kLn2Low, fused(n, -kLn2High, bounded));
  float series = 1.9875691e-4f;
  series = fused(series, r, 1.3981999e-3f);
  series = fused(series, r, 8.333452e-3f);
  series = fused(series, r, 4.1665796e-2f);
  series = fused(series, r, 0.16666666f);
  series = fused(series, r, 0.5f);
  const float mantissa = fused(series, r * r, r) + 1.0f;
  const float result = mantissa * float_of(bits_of(shifted) << 23);
  // The CPU's contract flushes denormals.
  return result < 1.17549435e-38f ? 0.0f : result;
}

/// ln x within 1 ulp; −infinity of zero (and of denormals), NaN of negative numbers.
/// x = 2ᵉ·m with m in [√½, √2); a polynomial in m − 1 (coefficients of Cephes' logf).
__device__ __forceinline__ float log_f32(float x) {
  constexpr uint32_t kRootHalfBits = 0x3f3504f3u;
  const int32_t exponent = static_cast<int32_t>(bits_of(x) - kRootHalfBits) >> 23;
  const float f = float_of(bits_of(x) - (static_cast<uint32_t>(exponent) << 23)) - 1.0f;
  const float e = static_cast<float>(exponent);
  float series = 7.0376836e-2f;
  series = fused(series, f, -0.1151461f);
  series = fused(series, f, 0.11676999f);
  series = fused(series, f, -0.12420141f);
  series = fused(series, f, 0.14249323f);
  series = fused(series, f, -0.16668057f);
  series = fused(series, f, 0.20000715f);
  series = fused(series, f, -0.24999994f);
  series = fused(series, f, 0.3333333f);
  const float square = f * f;
  const float tail = fused(e, kLn2Low, fused(square, -0.5f, series * (square * f)));
  float result = fused(e, kLn2High, tail + f);
  result = x < 1.17549435e-38f ? -kInfinity : result;
  result = x < 0.0f ? kInfinity - kInfinity : result;
  return x < kInfinity ? result : x;
}

/// 1 / (1 + e⁻ˣ)
__device__ __forceinline__ float sigmoid_f32(float x) { return 1.0f / (1.0f + exp_f32(-x)); }
