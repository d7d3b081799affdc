// Parameters and table of the norm family.
#pragma once

#include <cstdint>

struct bf16;

/// sum = residual (+ delta, unless null), rounded; rstd[rows] = 1 / sqrt(mean(sum²) + eps); out = sum · rstd · weight.
struct RmsNormParams {
  const void* residual;  // [rows, dim], bf16 or f32 by the kernel's name
  const float* delta;    // [rows, dim] or null
  const bf16* weight;    // [dim]
  bf16* sum;             // [rows, dim]
  float* rstd;           // [rows]
  bf16* out;             // [rows, dim]
  uint32_t rows, dim;
  float eps;
  uint32_t unused;
};
static_assert(sizeof(RmsNormParams) == 64, "mirrored in Rust");

/// d_sum[rows, dim] += the gradient through the norm.
struct RmsNormBackwardParams {
  const bf16* sum;     // [rows, dim]
  const float* rstd;   // [rows]
  const bf16* weight;  // [dim]
  const float* d_out;  // [rows, dim]
  float* d_sum;        // [rows, dim]
  uint32_t rows, dim;
};
static_assert(sizeof(RmsNormBackwardParams) == 48, "mirrored in Rust");

/// d_weight[dim] += Σ over rows of d_out · sum · rstd: a chain for each 64 rows, added in order.
struct RmsNormWeightParams {
  const bf16* sum;     // [rows, dim]
  const float* rstd;   // [rows]
  const float* d_out;  // [rows, dim]
  float* d_weight;     // [dim]
  uint32_t rows, dim;
};
static_assert(sizeof(RmsNormWeightParams) == 40, "mirrored in Rust");

/// qkv_out = qkv with each query and key head normalised and scaled; values are copied.
struct QkNormParams {
  const bf16* qkv;       // [tokens, heads + 2 · kv_heads, head_dim]
  const bf16* q_weight;  // [head_dim]
  const bf16* k_weight;  // [head_dim]
  float* rstd;           // [tokens, heads + kv_heads]
  bf16* qkv_out;         // as qkv
  uint32_t tokens, heads, kv_heads, head_dim;
  float eps;
  uint32_t unused;
};
static_assert(sizeof(QkNormParams) == 64, "mirrored in Rust");

/// d_qkv, in place: gradient of qkv_out in, gradient of qkv out.
struct QkNormBackwardParams {
  const bf16* qkv;       // [tokens, heads + 2 · kv_heads, head_dim]
  const float* rstd;     // [tokens, heads + kv_heads]
  const bf16* q_weight;  // [head_dim]
  const bf16* k_weight;  // [head_dim]
  float* d_qkv;          // as qkv
  uint32_t tokens, heads, kv_heads, head_dim;
};
static_assert(sizeof(QkNormBackwardParams) == 56, "mirrored in Rust");

/// partials[ceil(tokens / 64), head_dim]: Σ of d_qkv_out · qkv · rstd over the tokens of a block and `heads` heads from
/// `first_head` on, token by token; column_sum adds them to the weight's gradient. Runs before the gradient is
/// overwritten.
struct QkNormWeightParams {
  const bf16* qkv;     // [tokens, heads_all, head_dim]
  const float* rstd;   // [tokens, heads_normed]
  const float* d_qkv;  // as qkv
  float* partials;
  uint32_t tokens, heads_all, heads_normed, first_head, heads, head_dim;
};
static_assert(sizeof(QkNormWeightParams) == 56, "mirrored in Rust");

// rms_norm_*, rms_norm_backward: grid rows. rms_norm_weight: grid ceil(dim / 32).
// qk_norm, qk_norm_backward: grid (tokens, ceil(heads / 8)), heads all of them, values included (backward: without the
// values). qk_norm_weight: grid ceil(tokens / 64).
#define GRADUS_NORM_KERNELS(X)                         \
  X(rms_norm_bf16, RmsNormParams, 256, 32)             \
  X(rms_norm_f32, RmsNormParams, 256, 32)              \
  X(rms_norm_backward, RmsNormBackwardParams, 256, 32) \
  X(rms_norm_weight, RmsNormWeightParams, 1024, 4224)  \
  X(qk_norm, QkNormParams, 256, 0)                     \
  X(qk_norm_backward, QkNormBackwardParams, 256, 0)    \
  X(qk_norm_weight, QkNormWeightParams, 256, 0)
