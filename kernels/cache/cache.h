// Parameters and table of the KV cache. A page holds 16 tokens of one layer: [pages, kv_heads, 16, head_dim], keys and
// values alike.
#pragma once

#include <cstdint>

struct bf16;

/// Stores the keys and values of qkv at slots[tokens] = page · 16 + place in the page.
struct KvAppendParams {
  const bf16* qkv;        // [tokens, heads + 2 · kv_heads, head_dim]
  const uint32_t* slots;  // [tokens], distinct
  bf16* k_pages;
  bf16* v_pages;
  uint32_t tokens, heads, kv_heads, head_dim;
};
static_assert(sizeof(KvAppendParams) == 48, "mirrored in Rust");

// kv_append: grid tokens. head_dim is a multiple of 8. A page is copied by the driver: it is one stretch of memory.
#define GRADUS_CACHE_KERNELS(X) X(kv_append, KvAppendParams, 256, 0)
