// Parameters and table of what moves values between buffers: rows to another stride, and short lists to their places.
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

/// to[i][words[i]] = from[i][words[i]]: the lists of a step, which crossed from the host as one, or cross to it.
struct MoveWordsParams {
  const uint32_t* from[16];
  uint32_t* to[16];
  uint32_t words[16];
};
static_assert(sizeof(MoveWordsParams) == 320, "mirrored in Rust");

// copy_rows_bf16: grid (m, ceil(ld_to / 256)). move_words: grid (ceil(longest / 256), lists).
#define GRADUS_COPY_KERNELS(X)                   \
  X(copy_rows_bf16, CopyRowsParams, 256, 0)      \
  X(move_words, MoveWordsParams, 256, 0)
