// to[m, n] = from[m, n] rounded to bf16, rows padded with zeros: makes operands of mma.sync out of f32 gradients.
// Reads 4 · m · n bytes, writes 2 · m · ld_to. A thread has four neighbours, a block 1024 columns of one row.
#include "common/types.cuh"
#include "gemm/gemm.h"

GRADUS_KERNEL(256, cast_rows, CastRowsParams) {
  const uint32_t col = (blockIdx.y * 256 + threadIdx.x) * 4;
  if (col >= p.ld_to) return;
  const float* from = p.from + static_cast<int64_t>(blockIdx.x) * p.ld_from + col;
  bf16* to = p.to + static_cast<int64_t>(blockIdx.x) * p.ld_to + col;
  float value[4] = {};
  if (p.ld_from % 4 == 0 && col + 4 <= p.n) {
    const Vector<float, 4> four = load_vector<4>(from);
    for (int i = 0; i < 4; ++i) value[i] = four[i];
  } else {
    for (uint32_t i = 0; i < 4; ++i) {
      if (col + i < p.n) value[i] = from[i];
    }
  }
  // ld_to is a multiple of 8.
  store_vector(reinterpret_cast<bf16x2*>(to),
               Vector<bf16x2, 2>{{to_bf16x2(value[0], value[1]), to_bf16x2(value[2], value[3])}});
}
