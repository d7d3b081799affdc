// Keys and values into pages.
// A thread moves 8 elements at a time.
#include "cache/cache.h"
#include "common/types.cuh"

constexpr uint32_t kThreads = 256;
constexpr uint32_t kPageTokens = 16;

GRADUS_KERNEL(kThreads, kv_append, KvAppendParams) {
  const uint32_t vectors = p.head_dim / 8;
  const uint32_t page = p.slots[blockIdx.x] / kPageTokens;
  const uint32_t place = p.slots[blockIdx.x] % kPageTokens;
  const bf16* row = p.qkv + static_cast<int64_t>(blockIdx.x) * (p.heads + 2 * p.kv_heads) * p.head_dim;
  for (uint32_t i = threadIdx.x; i < 2 * p.kv_heads * vectors; i += kThreads) {
    const uint32_t head = i / vectors;  // keys, then values
    const uint32_t col = i % vectors * 8;
    const bool is_value = head >= p.kv_heads;
    const uint32_t kv_head = is_value ? head - p.kv_heads : head;
    const int64_t to = ((static_cast<int64_t>(page) * p.kv_heads + kv_head) * kPageTokens + place) * p.head_dim + col;
    const Vector<bf16, 8> value = load_vector<8>(row + (p.heads + head) * p.head_dim + col);
    store_vector((is_value ? p.v_pages : p.k_pages) + to, value);
  }
}
