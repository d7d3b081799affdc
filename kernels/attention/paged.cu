// Attention of single tokens over their sequences' pages (decode, chunked prefill): a block takes one token and one key
// head; its first warp has the query heads of that key head as rows. Reads every key and value once: limited by
// bandwidth.
#include "attention/attention.h"
#include "attention/online_softmax.cuh"

constexpr uint32_t kThreads = 128;
constexpr uint32_t kPageTokens = 16;

/// Starts the copies of 128 rows of pages from key `first` on; rows after `last` become zero.
template <int D>
__device__ __forceinline__ void copy_pages(uint32_t tile, const bf16* pages, const uint32_t* page_table, uint32_t first,
                                           uint32_t last, uint32_t kv_head, const PagedAttentionParams& p) {
  using Tile = SharedTile<kKeyBlock, D>;
  for (uint32_t i = threadIdx.x; i < kKeyBlock * Tile::kChunks; i += kThreads) {
    const uint32_t row = i / Tile::kChunks;
    const uint32_t chunk = i % Tile::kChunks;
    const uint32_t key = first + row;
    const bool inside = key <= last && chunk * 8 < p.head_dim;
    const uint32_t page = inside ? page_table[key / kPageTokens] : 0;
    const int64_t at = (static_cast<int64_t>(page) * p.kv_heads + kv_head) * kPageTokens + key % kPageTokens;
    const bf16* from = inside ? pages + at * p.head_dim + chunk * 8 : pages;
    ptx::cp_async_16(tile + Tile::offset(row, chunk), from, inside ? 16 : 0);
  }
}

template <int D>
__device__ __forceinline__ void attend_token(const PagedAttentionParams& p) {
  using QueryTile = SharedTile<kQueriesOfWarp, D>;
  using KeyTile = SharedTile<kKeyBlock, D>;
  const uint32_t token = blockIdx.x;
  const uint32_t kv_head = blockIdx.y;
  const uint32_t group = p.heads / p.kv_heads;
  const uint32_t first_head = kv_head * group + blockIdx.z * kQueriesOfWarp;
  const uint32_t heads = min(kQueriesOfWarp, group - blockIdx.z * kQueriesOfWarp);
  const uint32_t last = p.positions[token];
  const uint32_t* page_table = p.page_table + static_cast<int64_t>(p.sequences[token]) * p.pages_max;
  const bf16* row = p.qkv + static_cast<int64_t>(token) * (p.heads + 2 * p.kv_heads) * p.head_dim;
  const uint32_t queries_tile = ptx::shared_address(smem<unsigned char>());
  const uint32_t keys_tile = queries_tile + QueryTile::kBytes;
  const uint32_t values_tile = keys_tile + KeyTile::kBytes;

  // The heads of a token lie one after the other, so they are the rows of a matrix.
  for (uint32_t i = threadIdx.x; i < kQueriesOfWarp * QueryTile::kChunks; i += kThreads) {
    const uint32_t head = i / QueryTile::kChunks;
    const uint32_t chunk = i % QueryTile::kChunks;
    const bool inside = head < heads && chunk * 8 < p.head_dim;
    const bf16* from = inside ? row + (first_head + head) * p.head_dim + chunk * 8 : p.qkv;
    ptx::cp_async_16(queries_tile + QueryTile::offset(head, chunk), from, inside ? 16 : 0);
  }
  ptx::cp_async_commit();
  ptx::cp_async_wait_group<0>();
  __syncthreads();
  const bool is_working = warp_index() == 0;
  Queries<D> queries;
  if (is_working) queries.template load<QueryTile>(queries_tile, 0);
  const uint32_t position[2] = {last, last};
  const auto copy_keys = [&](uint32_t tile, uint32_t first) {
    copy_pages<D>(tile, p.k_pages, page_table, first, last, kv_head, p);
  };
  const auto copy_values = [&](uint32_t tile, uint32_t first) {
    copy_pages<D>(tile, p.v_pages, page_table, first, last, kv_head, p);
  };
  OnlineSoftmax<D> result;
  attend(result, queries, position, is_working, last, p.scale, keys_tile, values_tile, copy_keys, copy_values);
  if (!is_working) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint32_t head = lane_index() / 4 + half * 8;
    if (head >= heads) continue;
    result.store(p.out + (static_cast<int64_t>(token) * p.heads + first_head + head) * p.head_dim, half, p.head_dim);
  }
}

GRADUS_KERNEL(kThreads, paged_attention_64, PagedAttentionParams) { attend_token<64>(p); }
GRADUS_KERNEL(kThreads, paged_attention_128, PagedAttentionParams) { attend_token<128>(p); }
