// Attention over packed sequences (training, scoring): a block takes 64 queries of one head, a warp 16 of them.
// 4 · D FLOPs for each query and key; keys and values come through L2 once for each 64 queries.
#include "attention/attention.h"
#include "attention/online_softmax.cuh"

constexpr uint32_t kThreads = 128;
constexpr uint32_t kQueries = 64;

template <int D>
__device__ __forceinline__ void attention_tile(const AttentionParams& p) {
  using QueryTile = SharedTile<kQueries, D>;
  using KeyTile = SharedTile<kKeyBlock, D>;
  const SequenceTile place = find_tile<kQueries>(p.cu_seqlens, p.sequences, blockIdx.x);
  if (place.length == 0) return;
  const uint32_t head = blockIdx.y;
  const uint32_t kv_head = head / (p.heads / p.kv_heads);
  const uint32_t ld = (p.heads + 2 * p.kv_heads) * p.head_dim;
  const bf16* rows = p.qkv + static_cast<int64_t>(place.start) * ld;
  const bf16* keys = rows + (p.heads + kv_head) * p.head_dim;
  const bf16* values = keys + p.kv_heads * p.head_dim;
  const uint32_t queries_tile = ptx::shared_address(smem<unsigned char>());
  const uint32_t keys_tile = queries_tile + QueryTile::kBytes;
  const uint32_t values_tile = keys_tile + KeyTile::kBytes;

  TileLoader<kQueries, D, kThreads>(rows + head * p.head_dim, ld, place.length, p.head_dim, place.first, 0)
      .copy(queries_tile);
  ptx::cp_async_commit();
  ptx::cp_async_wait_group<0>();
  __syncthreads();
  Queries<D> queries;
  queries.template load<QueryTile>(queries_tile, warp_index() * kQueriesOfWarp);

  const uint32_t first_row = place.first + warp_index() * kQueriesOfWarp + lane_index() / 4;
  const uint32_t position[2] = {first_row, first_row + 8};
  const uint32_t last = min(place.first + kQueries, place.length) - 1;
  const auto copy_keys = [&](uint32_t tile, uint32_t first) {
    TileLoader<kKeyBlock, D, kThreads>(keys, ld, place.length, p.head_dim, first, 0).copy(tile);
  };
  const auto copy_values = [&](uint32_t tile, uint32_t first) {
    TileLoader<kKeyBlock, D, kThreads>(values, ld, place.length, p.head_dim, first, 0).copy(tile);
  };
  OnlineSoftmax<D> result, split;
  result.clear();
  attend(split, queries, position, true, 0, last, p.scale, keys_tile, values_tile, copy_keys, copy_values, [&] {
    result.merge(split);
    split.clear();
  });
#pragma unroll
  for (int row = 0; row < 2; ++row) {
    if (position[row] >= place.length) continue;
    const int64_t at = static_cast<int64_t>(place.start + position[row]) * p.heads + head;
    result.store(p.out + at * p.head_dim, row, p.head_dim);
    if (lane_index() % 4 == 0) p.lse[at] = result.lse(row);
  }
}

GRADUS_KERNEL(kThreads, attention_64, AttentionParams) { attention_tile<64>(p); }
GRADUS_KERNEL(kThreads, attention_128, AttentionParams) { attention_tile<128>(p); }
