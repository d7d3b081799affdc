// Rotary positions, in place, and the inverse rotation of gradients. A block takes one row, a thread one pair at a
// time.
#include "common/elementary.cuh"
#include "common/types.cuh"
#include "rope/rope.h"

constexpr uint32_t kThreads = 256;

/// (a, b) becomes (a · cos − b · sin, b · cos + a · sin); `direction` −1 turns back.
template <class T>
__device__ __forceinline__ void rotate_row(const RopeParams& p, float direction) {
  const uint32_t half = p.head_dim / 2;
  const float* table = p.table + static_cast<int64_t>(p.positions[blockIdx.x]) * p.head_dim;
  T* row = static_cast<T*>(p.qkv) + static_cast<int64_t>(blockIdx.x) * p.ld;
  for (uint32_t pair = threadIdx.x; pair < p.heads * half; pair += kThreads) {
    const uint32_t i = pair % half;
    T* at = row + pair / half * p.head_dim + i;
    const float cosine = table[i];
    const float sine = direction * table[half + i];
    const float a = read_element(at);
    const float b = read_element(at + half);
    write_element(at, fused(a, cosine, -(b * sine)));
    write_element(at + half, fused(b, cosine, a * sine));
  }
}

GRADUS_KERNEL(kThreads, rope, RopeParams) { rotate_row<bf16>(p, 1.0f); }
GRADUS_KERNEL(kThreads, rope_backward, RopeParams) { rotate_row<float>(p, -1.0f); }
