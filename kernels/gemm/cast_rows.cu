// to[m, n] = from[m, n] in bf16, rows padded with zeros: makes operands of mma.sync out of f32 gradients and of bf16
// rows whose length is no multiple of 8. Reads m · n elements, writes 2 · m · ld_to bytes. A thread has four neighbours
// of eight rows.
#include "common/types.cuh"
#include "gemm/gemm.h"

constexpr uint32_t kRowsPerBlock = 8;

template <class T>
__device__ __forceinline__ void cast_rows(const CastRowsParams& p) {
  const uint32_t col = (blockIdx.x * 256 + threadIdx.x) * 4;
  if (col >= p.ld_to) return;
  const bool whole = p.ld_from % 4 == 0 && col + 4 <= p.n;
  const uint32_t end = min(p.m, (blockIdx.y + 1) * kRowsPerBlock);
  for (uint32_t row = blockIdx.y * kRowsPerBlock; row < end; ++row) {
    const T* from = static_cast<const T*>(p.from) + static_cast<int64_t>(row) * p.ld_from + col;
    float value[4] = {};
    if (whole) {
      const Vector<T, 4> four = load_vector<4>(from);
#pragma unroll
      for (int i = 0; i < 4; ++i) value[i] = read_element(&four[i]);
    } else {
      for (uint32_t i = 0; i < 4; ++i) {
        if (col + i < p.n) value[i] = read_element(from + i);
      }
    }
    // ld_to is a multiple of 8.
    store_vector(reinterpret_cast<bf16x2*>(p.to + static_cast<int64_t>(row) * p.ld_to + col),
                 Vector<bf16x2, 2>{{to_bf16x2(value[0], value[1]), to_bf16x2(value[2], value[3])}});
  }
}

GRADUS_KERNEL(256, cast_rows_f32, CastRowsParams) { cast_rows<float>(p); }
GRADUS_KERNEL(256, cast_rows_bf16, CastRowsParams) { cast_rows<bf16>(p); }
