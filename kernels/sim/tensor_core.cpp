// The arithmetic of mma.sync m16n8k16 on bf16, as MMA-Sim (Microsoft) models Hopper: per element, 16 exact products and
// the accumulator are aligned to the largest exponent with 25 bits after the point, cut off, added exactly, cut to f32.
// One fused step: a chain of k16 steps gives other bits than k8 steps or fused multiply-adds would.
#include <immintrin.h>

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "sim/machine.h"

namespace sim {

namespace {

constexpr int kFractionBits = 25;
/// Exponent of zero: below every other.
constexpr int kZeroExponent = -100000;
/// Terms are scaled by powers of two that f32 can hold; smaller ones lose bits that no result has.
constexpr int kExponentMin = -100;

float float_of_bf16(uint16_t bits) { return float_of(uint32_t{bits} << 16); }

int exponent_of(uint32_t bits) {
  if ((bits & 0x7fffffffu) == 0) return kZeroExponent;
  const int field = static_cast<int>(bits >> 23 & 255);
  return (field == 0 ? 1 : field) - 127;
}

/// Infinities, NaN and products beyond f32: what any order of the same sum gives.
float add_special(const uint16_t (&a)[16], const uint16_t (&b)[16][8], int n, float c) {
  double sum = c;
  for (int k = 0; k < 16; ++k) sum += double{float_of_bf16(a[k])} * double{float_of_bf16(b[k][n])};
  // In the mode set here a conversion would stop at the largest number.
  if (std::fabs(sum) > double{FLT_MAX}) return std::copysign(__builtin_huge_valf(), static_cast<float>(sum));
  return static_cast<float>(sum);
}

struct Columns {
  __m256 value[16];  // of b's row k, eight columns
  __m256i exponent[16];
};

/// Cuts eight sums of two parts, scaled by 2^(25 - exponent), to f32. The rounding mode is towards zero.
__m256 cut(__m256i first, __m256i second, __m256i exponent) {
  alignas(32) int32_t low[8], high[8], power[8];
  alignas(32) float result[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(low), first);
  _mm256_store_si256(reinterpret_cast<__m256i*>(high), second);
  _mm256_store_si256(reinterpret_cast<__m256i*>(power), exponent);
  for (int n = 0; n < 8; ++n) {
    const double sum = static_cast<double>(low[n]) + static_cast<double>(high[n]);
    const uint64_t scale = static_cast<uint64_t>(1023 + power[n] - kFractionBits) << 52;
    __m128d exact = _mm_set_sd(sum * __builtin_bit_cast(double, scale));
    result[n] = _mm_cvtss_f32(_mm_cvtsd_ss(_mm_setzero_ps(), exact));
  }
  return _mm256_load_ps(result);
}

void multiply_row(const uint16_t (&a)[16], const uint16_t (&b)[16][8], const Columns& columns, float (&d)[8]) {
  const __m256 accumulator = _mm256_loadu_ps(d);
  alignas(32) int32_t exponents[8];
  for (int n = 0; n < 8; ++n) exponents[n] = exponent_of(bits_of(d[n]));
  __m256i largest = _mm256_load_si256(reinterpret_cast<const __m256i*>(exponents));
  __m256 products[16];
  const __m256 limit = _mm256_set1_ps(1e38f);
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 regular = _mm256_cmp_ps(_mm256_andnot_ps(sign, accumulator), limit, _CMP_LT_OQ);
  for (int k = 0; k < 16; ++k) {
    const float value = float_of_bf16(a[k]);
    products[k] = _mm256_mul_ps(_mm256_set1_ps(value), columns.value[k]);
    regular = _mm256_and_ps(regular, _mm256_cmp_ps(_mm256_andnot_ps(sign, products[k]), limit, _CMP_LT_OQ));
    const __m256i exponent = _mm256_add_epi32(_mm256_set1_epi32(exponent_of(bits_of(value))), columns.exponent[k]);
    largest = _mm256_max_epi32(largest, exponent);
  }
  largest = _mm256_max_epi32(largest, _mm256_set1_epi32(kExponentMin));
  // 2^(25 - largest): at most 2^125, and above 2^-127 because regular values are below 1e38.
  const __m256i field =
      _mm256_sub_epi32(_mm256_set1_epi32(127 + kFractionBits), _mm256_min_epi32(largest, _mm256_set1_epi32(127)));
  const __m256 scale = _mm256_castsi256_ps(_mm256_slli_epi32(field, 23));
  __m256i first = _mm256_cvttps_epi32(_mm256_mul_ps(accumulator, scale));
  __m256i second = _mm256_setzero_si256();
  for (int k = 0; k < 8; ++k) {
    first = _mm256_add_epi32(first, _mm256_cvttps_epi32(_mm256_mul_ps(products[k], scale)));
    second = _mm256_add_epi32(second, _mm256_cvttps_epi32(_mm256_mul_ps(products[k + 8], scale)));
  }
  const __m256 result = cut(first, second, largest);
  const int regular_columns = _mm256_movemask_ps(regular);
  alignas(32) float results[8];
  _mm256_store_ps(results, result);
  for (int n = 0; n < 8; ++n) d[n] = (regular_columns >> n & 1) != 0 ? results[n] : add_special(a, b, n, d[n]);
}

}  // namespace

void multiply_tile(const uint16_t (&a)[16][16], const uint16_t (&b)[16][8], float (&d)[16][8]) {
  Columns columns;
  for (int k = 0; k < 16; ++k) {
    alignas(32) float values[8];
    alignas(32) int32_t exponents[8];
    for (int n = 0; n < 8; ++n) {
      values[n] = float_of_bf16(b[k][n]);
      exponents[n] = exponent_of(bits_of(values[n]));
    }
    columns.value[k] = _mm256_load_ps(values);
    columns.exponent[k] = _mm256_load_si256(reinterpret_cast<const __m256i*>(exponents));
  }
  const unsigned int mode = _mm_getcsr();
  _mm_setcsr(mode | _MM_ROUND_TOWARD_ZERO);
  for (int m = 0; m < 16; ++m) multiply_row(a[m], b, columns, d[m]);
  _mm_setcsr(mode);
}

}  // namespace sim
