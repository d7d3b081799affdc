// Parameters and table of the MLP's activation.
#pragma once

#include <cstdint>

struct bf16;

/// out[tokens, ffn] = silu(gate) · up; a row of gate_up is gate, then up.
struct SwigluParams {
  const bf16* gate_up;  // [tokens, 2 · ffn]
  bf16* out;            // [tokens, ffn]
  uint32_t tokens, ffn;
};
static_assert(sizeof(SwigluParams) == 24, "mirrored in Rust");

/// d_gate_up[tokens, 2 · ffn] from d_out[tokens, ffn].
struct SwigluBackwardParams {
  const bf16* gate_up;
  const float* d_out;
  float* d_gate_up;
  uint32_t tokens, ffn;
};
static_assert(sizeof(SwigluBackwardParams) == 32, "mirrored in Rust");

// grid (tokens, ceil(ffn / 2048)).
#define GRADUS_MLP_KERNELS(X)     \
  X(swiglu, SwigluParams, 256, 0) \
  X(swiglu_backward, SwigluBackwardParams, 256, 0)
