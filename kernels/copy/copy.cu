// What moves values between buffers: each value is read and written once.
#include "common/types.cuh"
#include "copy/copy.h"

// A block copies 256 columns of one row.
GRADUS_KERNEL(256, copy_rows_bf16, CopyRowsParams) {
  const uint32_t col = blockIdx.y * 256 + threadIdx.x;
  if (col >= p.ld_to) return;
  const bf16 value = col < p.n ? p.from[static_cast<int64_t>(blockIdx.x) * p.ld_from + col] : bf16{0};
  p.to[static_cast<int64_t>(blockIdx.x) * p.ld_to + col] = value;
}

GRADUS_KERNEL(256, move_words, MoveWordsParams) {
  const uint32_t i = blockIdx.x * 256 + threadIdx.x;
  if (i < p.words[blockIdx.y]) p.to[blockIdx.y][i] = p.from[blockIdx.y][i];
}
