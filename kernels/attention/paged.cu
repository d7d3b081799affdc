// Attention of single tokens over their sequences' pages (decode, chunked prefill): a block takes one token, one key head
// and one split of its keys, so that few long sequences keep a GPU busy; its first warp has the query heads of that key
// head as rows. Reads every key and value once: limited by bandwidth. merge_splits adds the splits in order.
#include "attention/attention.h"
#include "attention/online_softmax.cuh"

constexpr uint32_t kThreads = 128;
constexpr uint32_t kPageTokens = 16;
constexpr uint32_t kMergeThreads = 256;

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
  const uint32_t kv_head = blockIdx.y % p.kv_heads;
  const uint32_t group = p.heads / p.kv_heads;
  const uint32_t first_of_group = blockIdx.y / p.kv_heads * kQueriesOfWarp;
  const uint32_t first_head = kv_head * group + first_of_group;
  const uint32_t heads = min(kQueriesOfWarp, group - first_of_group);
  const uint32_t position_of_token = p.positions[token];
  const uint32_t begin = blockIdx.z * kKeySplit;
  // Another sequence of the step is longer.
  if (begin > position_of_token) return;
  const uint32_t last = min(position_of_token, begin + kKeySplit - 1);
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
  const uint32_t position[2] = {position_of_token, position_of_token};
  const auto copy_keys = [&](uint32_t tile, uint32_t first) {
    copy_pages<D>(tile, p.k_pages, page_table, first, last, kv_head, p);
  };
  const auto copy_values = [&](uint32_t tile, uint32_t first) {
    copy_pages<D>(tile, p.v_pages, page_table, first, last, kv_head, p);
  };
  OnlineSoftmax<D> result;
  attend(result, queries, position, is_working, begin, last, p.scale, keys_tile, values_tile, copy_keys, copy_values,
         [] {});
  if (!is_working) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const uint32_t head = lane_index() / 4 + half * 8;
    if (head >= heads) continue;
    const int64_t row_of_out = static_cast<int64_t>(token) * p.heads + first_head + head;
    if (p.splits == 1) {
      result.store(p.out + row_of_out * p.head_dim, half, p.head_dim);
    } else {
      result.store_partial(p.partials + (row_of_out * p.splits + blockIdx.z) * (p.head_dim + 2), half, p.head_dim);
    }
  }
}

// A warp takes one head of one token, a lane every 32nd pair of its elements.
GRADUS_KERNEL(kMergeThreads, merge_splits, MergeSplitsParams) {
  constexpr int kPairs = 2;  // of a lane, in heads of up to 128 elements
  const uint32_t head = blockIdx.y * (kMergeThreads / kWarpSize) + warp_index();
  if (head >= p.heads) return;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * p.heads + head;
  const uint32_t partial_size = p.head_dim + 2;
  const float* partial = p.partials + row * p.splits * partial_size;
  float largest = -kInfinity;
  float sum = 0.0f;
  float out[kPairs][2] = {};
  for (uint32_t split = 0; split <= p.positions[blockIdx.x] / kKeySplit; ++split, partial += partial_size) {
    const SplitMerge merge(largest, partial[p.head_dim]);
    largest = merge.largest;
    sum = merge.add(sum, partial[p.head_dim + 1]);
#pragma unroll
    for (int pair = 0; pair < kPairs; ++pair) {
      const uint32_t col = (pair * kWarpSize + lane_index()) * 2;
      if (col >= p.head_dim) continue;
      const Vector<float, 2> later = load_vector<2>(partial + col);
      out[pair][0] = merge.add(out[pair][0], later[0]);
      out[pair][1] = merge.add(out[pair][1], later[1]);
    }
  }
#pragma unroll
  for (int pair = 0; pair < kPairs; ++pair) {
    const uint32_t col = (pair * kWarpSize + lane_index()) * 2;
    if (col >= p.head_dim) continue;
    const bf16x2 value = to_bf16x2(attended_value(out[pair][0], sum), attended_value(out[pair][1], sum));
    *reinterpret_cast<bf16x2*>(p.out + row * p.head_dim + col) = value;
  }
}

GRADUS_KERNEL(kThreads, paged_attention_64, PagedAttentionParams) { attend_token<64>(p); }
GRADUS_KERNEL(kThreads, paged_attention_128, PagedAttentionParams) { attend_token<128>(p); }
