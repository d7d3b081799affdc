// AdamW (Loshchilov and Hutter) in one linear pass: p ← p · (1 − lr · λ) − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε).
// Moves 30 bytes an element with f32 masters and moments, 20 with remainders and bf16 moments.
#include "common/elementary.cuh"
#include "common/philox.cuh"
#include "common/types.cuh"
#include "optim/optim.h"

constexpr uint32_t kThreads = 256;
constexpr uint32_t kElements = 4;  // of a thread

struct AdamWState {
  float parameter, m, v;
};

__device__ __forceinline__ AdamWState updated(AdamWState state, float gradient, const AdamWFactors& factors) {
  const float g = gradient * factors.gradient_scale;
  const float m = fused(factors.rate1, g - state.m, state.m);
  const float v = fused(factors.rate2 * g, g, factors.beta2 * state.v);
  const float denominator = square_root(v) / factors.correction2_root + factors.eps;
  return AdamWState{fused(factors.negative_step, m / denominator, state.parameter * factors.decay), m, v};
}

GRADUS_KERNEL(kThreads, adamw, AdamWParams) {
  const uint64_t first = uint64_t{blockIdx.x} * kThreads * kElements;
  // Neighbouring threads take neighbouring elements.
  for (uint32_t i = 0; i < kElements; ++i) {
    const uint64_t at = first + i * kThreads + threadIdx.x;
    if (at >= p.len) return;
    const AdamWState next = updated(AdamWState{p.master[at], p.m[at], p.v[at]}, p.gradient[at], p.factors);
    p.master[at] = next.parameter;
    p.m[at] = next.m;
    p.v[at] = next.v;
    p.weight[at] = to_bf16(next.parameter);
  }
}

/// `value` with 16 random bits added below bf16's, then cut: up as often as it is far from the number below.
__device__ __forceinline__ bf16 rounded_at_random(float value, uint32_t random) {
  return bf16{static_cast<uint16_t>((bits_of(value) + (random & 0xffffu)) >> 16)};
}

GRADUS_KERNEL(kThreads, adamw_compact, AdamWCompactParams) {
  const uint64_t first = uint64_t{blockIdx.x} * kThreads * kElements;
  for (uint32_t i = 0; i < kElements; ++i) {
    const uint64_t at = first + i * kThreads + threadIdx.x;
    if (at >= p.len) return;
    const float master =
        float_of((uint32_t{p.weight[at].bits} << 16) + static_cast<uint32_t>(int32_t{p.remainder[at]}));
    const AdamWState next =
        updated(AdamWState{master, to_float(p.m[at]), to_float(p.v[at])}, p.gradient[at], p.factors);
    const PhiloxWords random =
        philox4x32(PhiloxWords{{static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32), p.step, p.parameter}},
                   p.seed_low, p.seed_high);
    const uint32_t bits = bits_of(next.parameter);
    const uint32_t upper = (bits + 0x8000u) >> 16;
    p.weight[at] = bf16{static_cast<uint16_t>(upper)};
    p.remainder[at] = static_cast<int16_t>(bits - (upper << 16));
    p.m[at] = rounded_at_random(next.m, random.at[0]);
    p.v[at] = rounded_at_random(next.v, random.at[1]);
  }
}
