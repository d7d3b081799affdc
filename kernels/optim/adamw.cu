// AdamW (Loshchilov and Hutter) in one linear pass: p ← p · (1 − lr · λ) − lr / (1 − β₁ᵗ) · m / (√v / √(1 − β₂ᵗ) + ε).
// Moves 20 bytes an element: reads gradient (4), weight, remainder, m and v (2 each), writes the last four.
#include "common/elementary.cuh"
#include "common/philox.cuh"
#include "common/types.cuh"
#include "optim/optim.h"

namespace {

constexpr uint32_t kThreads = 256;
constexpr uint32_t kGroup = 4;  // neighbouring elements of a thread: one Philox call rounds the moments of four

/// What an element keeps between updates.
struct Kept {
  bf16 weight;
  int16_t remainder;
  bf16 m, v;
};

/// `value` with 16 random bits added below bf16's, then cut: up as often as it is far from the number below.
__device__ __forceinline__ bf16 rounded_at_random(float value, uint32_t random) {
  return bf16{static_cast<uint16_t>((bits_of(value) + (random & 0xffffu)) >> 16)};
}

__device__ __forceinline__ Kept updated(Kept kept, float gradient, uint32_t random, const AdamWFactors& factors) {
  // The remainder's sign goes over all 32 bits: the weight was rounded up where it is negative.
  const float master =
      float_of((uint32_t{kept.weight.bits} << 16) + static_cast<uint32_t>(static_cast<int32_t>(kept.remainder)));
  const float g = gradient * factors.gradient_scale;
  const float old_m = to_float(kept.m);
  const float m = fused(factors.rate1, g - old_m, old_m);
  const float v = fused(factors.rate2 * g, g, factors.beta2 * to_float(kept.v));
  const float denominator = square_root(v) / factors.correction2_root + factors.eps;
  const uint32_t bits = bits_of(fused(factors.negative_step, m / denominator, master * factors.decay));
  // A NaN whose bits are all set would round to a zero, unseen.
  const uint32_t upper = (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : (bits + 0x8000u) >> 16;
  return Kept{bf16{static_cast<uint16_t>(upper)}, static_cast<int16_t>(bits - (upper << 16)),
              rounded_at_random(m, random), rounded_at_random(v, random >> 16)};
}

}  // namespace

GRADUS_KERNEL(kThreads, adamw, AdamWParams) {
  const uint64_t group = uint64_t{blockIdx.x} * kThreads + threadIdx.x;
  const uint64_t first = group * kGroup;
  if (first >= p.len) return;
  const PhiloxWords random = philox4x32(PhiloxWords{{static_cast<uint32_t>(group), static_cast<uint32_t>(group >> 32),
                                                     p.stream_low, p.stream_high}},
                                        p.seed_low, p.seed_high);
  if (first + kGroup > p.len) {
    for (uint32_t i = 0; first + i < p.len; ++i) {
      const uint64_t at = first + i;
      const Kept next = updated(Kept{p.weight[at], p.remainder[at], p.m[at], p.v[at]}, p.gradient[at], random.at[i],
                                p.factors);
      p.weight[at] = next.weight;
      p.remainder[at] = next.remainder;
      p.m[at] = next.m;
      p.v[at] = next.v;
    }
    return;
  }
  const Vector<float, kGroup> gradient = load_vector<kGroup>(p.gradient + first);
  Vector<bf16, kGroup> weight = load_vector<kGroup>(p.weight + first);
  Vector<int16_t, kGroup> remainder = load_vector<kGroup>(p.remainder + first);
  Vector<bf16, kGroup> m = load_vector<kGroup>(p.m + first);
  Vector<bf16, kGroup> v = load_vector<kGroup>(p.v + first);
#pragma unroll
  for (uint32_t i = 0; i < kGroup; ++i) {
    const Kept next = updated(Kept{weight[i], remainder[i], m[i], v[i]}, gradient[i], random.at[i], p.factors);
    weight[i] = next.weight;
    remainder[i] = next.remainder;
    m[i] = next.m;
    v[i] = next.v;
  }
  store_vector<kGroup>(p.weight + first, weight);
  store_vector<kGroup>(p.remainder + first, remainder);
  store_vector<kGroup>(p.m + first, m);
  store_vector<kGroup>(p.v + first, v);
}
