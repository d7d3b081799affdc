// The gradient of queries: a block takes 64 queries of one head and goes over their keys in order; a warp has 16
// queries as rows. dQ = dS·K with dS = P · (dP − delta) · scale.
#include "attention/backward.cuh"

template <int D>
__device__ __forceinline__ void backward_queries(const AttentionBackwardParams& p) {
  using Tile = SharedTile<kTile, D>;
  const BackwardPlace place(p);
  const SequenceTile& tile = place.tile;
  if (tile.length == 0) return;
  const uint32_t head = blockIdx.y;
  const bf16* keys = place.rows + (p.heads + head / (p.heads / p.kv_heads)) * p.head_dim;
  const bf16* values = keys + p.kv_heads * p.head_dim;
  const uint32_t first_tile = ptx::shared_address(smem<unsigned char>());
  const uint32_t second_tile = first_tile + Tile::kBytes;

  place.copy<D>(first_tile, place.rows + head * p.head_dim, place.ld, tile.first, p.head_dim);
  place.copy<D>(second_tile, place.d_out + head * p.head_dim, place.ld_out, tile.first, p.head_dim);
  ptx::cp_async_commit();
  ptx::cp_async_wait_group<0>();
  __syncthreads();
  Queries<D> own_queries, own_gradients;
  own_queries.template load<Tile>(first_tile, warp_index() * 16);
  own_gradients.template load<Tile>(second_tile, warp_index() * 16);

  const uint32_t own_row = tile.first + warp_index() * 16 + lane_index() / 4;
  float lse[2], delta[2];
#pragma unroll
  for (uint32_t half = 0; half < 2; ++half) {
    const bool inside = own_row + half * 8 < tile.length;
    const int64_t at = static_cast<int64_t>(tile.start + own_row + half * 8) * p.heads + head;
    lse[half] = inside ? p.lse[at] : 0.0f;
    delta[half] = inside ? p.delta[at] : 0.0f;
  }
  float d_queries[D / 8][4];
  clear<D>(d_queries);
  for (uint32_t first = 0; first < min(tile.first + kTile, tile.length); first += kTile) {
    // Every warp has left the tiles of the round before.
    __syncthreads();
    place.copy<D>(first_tile, keys, place.ld, first, p.head_dim);
    place.copy<D>(second_tile, values, place.ld, first, p.head_dim);
    ptx::cp_async_commit();
    ptx::cp_async_wait_group<0>();
    __syncthreads();
    float shares[kTile / 8][4], gradients[kTile / 8][4];
    multiply_heads<D, kTile, Tile>(shares, own_queries.fragments, first_tile);
    multiply_heads<D, kTile, Tile>(gradients, own_gradients.fragments, second_tile);
#pragma unroll
    for (uint32_t j = 0; j < kTile / 8; ++j) {
#pragma unroll
      for (uint32_t e = 0; e < 4; ++e) {
        const uint32_t key = first + j * 8 + lane_index() % 4 * 2 + e % 2;
        const uint32_t query = own_row + e / 2 * 8;
        const bool counts = key <= query && query < tile.length;
        const float share = counts ? exp_f32(shares[j][e] * p.scale - lse[e / 2]) : 0.0f;
        gradients[j][e] = share * (gradients[j][e] - delta[e / 2]) * p.scale;
      }
    }
    multiply_rounded<D, kTile, Tile>(d_queries, gradients, first_tile);
  }
  float* to = p.d_qkv + static_cast<int64_t>(tile.start) * place.ld + head * p.head_dim;
  store_gradient<D>(d_queries, to, place.ld, own_row, tile.length, p.head_dim);
}

GRADUS_KERNEL(kThreads, attention_backward_q_64, AttentionBackwardParams) { backward_queries<64>(p); }
GRADUS_KERNEL(kThreads, attention_backward_q_128, AttentionBackwardParams) { backward_queries<128>(p); }
