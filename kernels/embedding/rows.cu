// Rows picked by index: the loss is taken of response tokens alone.
#include "common/types.cuh"
#include "embedding/embedding.h"

constexpr uint32_t kThreads = 256;
constexpr uint32_t kColumns = 1024;

template <class T>
__device__ __forceinline__ void gather_columns(const RowsParams& p) {
  const T* from = static_cast<const T*>(p.x) + static_cast<int64_t>(p.indices[blockIdx.x]) * p.dim;
  T* to = static_cast<T*>(p.out) + static_cast<int64_t>(blockIdx.x) * p.dim;
  const uint32_t end = min((blockIdx.y + 1) * kColumns, p.dim);
  for (uint32_t col = blockIdx.y * kColumns + threadIdx.x; col < end; col += kThreads) to[col] = from[col];
}

GRADUS_KERNEL(kThreads, gather_rows_16, RowsParams) { gather_columns<uint16_t>(p); }
GRADUS_KERNEL(kThreads, gather_rows_32, RowsParams) { gather_columns<uint32_t>(p); }

GRADUS_KERNEL(kThreads, scatter_add_rows, RowsParams) {
  const float* from = static_cast<const float*>(p.x) + static_cast<int64_t>(blockIdx.x) * p.dim;
  float* to = static_cast<float*>(p.out) + static_cast<int64_t>(p.indices[blockIdx.x]) * p.dim;
  const uint32_t end = min((blockIdx.y + 1) * kColumns, p.dim);
  for (uint32_t col = blockIdx.y * kColumns + threadIdx.x; col < end; col += kThreads) to[col] += from[col];
}
