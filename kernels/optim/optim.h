// Parameters and table of the optimizer. Weights, gradients and moments of a parameter are `len` elements in the same
// order, row padding included: it is zero and stays zero.
#pragma once

#include <cstdint>

struct bf16;

/// The factors of one update, computed in f64 on the host and rounded once.
struct AdamWFactors {
  float gradient_scale;
  float decay;  // 1 − learning rate · weight decay
  float rate1;  // 1 − β₁
  float beta2;
  float rate2;             // 1 − β₂
  float correction2_root;  // √(1 − β₂ᵗ)
  float eps;
  float negative_step;  // −learning rate / (1 − β₁ᵗ)
};

/// The master of an element is its weight and remainder together, exactly: its bits are weight · 2¹⁶ + remainder, the
/// weight rounded half away from zero (half to even would leave a remainder of 2¹⁵, which has no place in 16 bits). The
/// moments are bf16, rounded up or down at random with the mean of the f32 value: an element's random number is a function
/// of seed, stream and the element's index, so a repeated run rounds alike.
struct AdamWParams {
  const float* gradient;
  bf16* weight;
  int16_t* remainder;
  bf16* m;
  bf16* v;
  uint64_t len;
  AdamWFactors factors;
  uint32_t seed_low, seed_high;
  uint32_t stream_low, stream_high;  // one for each update of each parameter
};
static_assert(sizeof(AdamWParams) == 96, "mirrored in Rust");

/// partials[block] = Σ of squares of 65,536 elements, in f64; the host adds the blocks in order.
struct SumOfSquaresParams {
  const float* values;
  double* partials;
  uint64_t len;
};
static_assert(sizeof(SumOfSquaresParams) == 24, "mirrored in Rust");

// adamw: grid ceil(len / 1024). sum_of_squares: grid ceil(len / 65536).
#define GRADUS_OPTIM_KERNELS(X) \
  X(adamw, AdamWParams, 256, 0) \
  X(sum_of_squares, SumOfSquaresParams, 256, 64)
