// Parameters and table of the rotary positions.
#pragma once

#include <cstdint>

struct bf16;

/// In place on the first `heads` heads of each row; element i of a head is paired with i + head_dim / 2.
struct RopeParams {
  const float* table;         // [positions_max, head_dim]: cos of head_dim / 2 frequencies, then sin
  const uint32_t* positions;  // [rows]
  void* qkv;                  // [rows, ld]: bf16 forward, f32 backward
  uint32_t rows, heads, head_dim, ld;
};
static_assert(sizeof(RopeParams) == 40, "mirrored in Rust");

// grid rows; heads: those of queries and keys together.
#define GRADUS_ROPE_KERNELS(X) \
  X(rope, RopeParams, 256, 0)  \
  X(rope_backward, RopeParams, 256, 0)
