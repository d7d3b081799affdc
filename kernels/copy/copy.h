// Parameters and table of what moves values between buffers: sums of two, and rows of another stride.
#pragma once

#include <cstdint>

struct bf16;

/// y[elements] += x[elements]
struct AddParams {
  float* y;
  const float* x;
  uint64_t elements;
};
static_assert(sizeof(AddParams) == 24, "mirrored in Rust");

/// to[m, n] = from[m, n]; columns n to ld_to become zero. Any leading dimensions.
struct CopyRowsParams {
  const bf16* from;  // [m, n]
  bf16* to;          // [m, n]
  uint32_t m, n, ld_from, ld_to;
};
static_assert(sizeof(CopyRowsParams) == 32, "mirrored in Rust");

// add_f32: grid ceil(elements / 256). copy_rows_bf16: grid (m, ceil(ld_to / 256)).
#define GRADUS_COPY_KERNELS(X)  \
  X(add_f32, AddParams, 256, 0) \
  X(copy_rows_bf16, CopyRowsParams, 256, 0)
