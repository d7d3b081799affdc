// Parameters and table of what moves values between buffers: rows to another stride.
#pragma once

#include <cstdint>

struct bf16;

/// to[m, n] = from[m, n]; columns n to ld_to become zero. Any leading dimensions.
struct CopyRowsParams {
  const bf16* from;  // [m, n]
  bf16* to;          // [m, n]
  uint32_t m, n, ld_from, ld_to;
};
static_assert(sizeof(CopyRowsParams) == 32, "mirrored in Rust");

// copy_rows_bf16: grid (m, ceil(ld_to / 256)).
#define GRADUS_COPY_KERNELS(X) X(copy_rows_bf16, CopyRowsParams, 256, 0)
