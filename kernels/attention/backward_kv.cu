// The gradients of keys and values: a block takes 64 keys of one key head and goes over the query heads of that head
// and their queries in order, so that each gradient is one chain. A warp has 16 keys as rows. With Sᵀ = K·Qᵀ: dV =
// Pᵀ·dO and dK = dSᵀ·Q, dS = P · (dP − delta) · scale.
#include "attention/backward.cuh"

template <int D>
__device__ __forceinline__ void backward_keys(const AttentionBackwardParams& p) {
  using Tile = SharedTile<kTile, D>;
  const BackwardPlace place(p);
  const SequenceTile& tile = place.tile;
  if (tile.length == 0) return;
  const uint32_t kv_head = blockIdx.y;
  const uint32_t group = p.heads / p.kv_heads;
  const bf16* keys = place.rows + (p.heads + kv_head) * p.head_dim;
  const uint32_t first_tile = ptx::shared_address(smem<unsigned char>());
  const uint32_t second_tile = first_tile + Tile::kBytes;
  float* lse = smem<float>(2 * Tile::kBytes);  // [kTile]
  float* delta = lse + kTile;                  // [kTile]

  place.copy<D>(first_tile, keys, place.ld, tile.first, p.head_dim);
  place.copy<D>(second_tile, keys + p.kv_heads * p.head_dim, place.ld, tile.first, p.head_dim);
  ptx::cp_async_commit();
  ptx::cp_async_wait_group<0>();
  __syncthreads();
  Queries<D> own_keys, own_values;
  own_keys.template load<Tile>(first_tile, warp_index() * 16);
  own_values.template load<Tile>(second_tile, warp_index() * 16);

  float d_keys[D / 8][4], d_values[D / 8][4];
  clear<D>(d_keys);
  clear<D>(d_values);
  const uint32_t own_row = tile.first + warp_index() * 16 + lane_index() / 4;
  for (uint32_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    for (uint32_t first = tile.first; first < tile.length; first += kTile) {
      // Every warp has left the tiles of the round before.
      __syncthreads();
      place.copy<D>(first_tile, place.rows + head * p.head_dim, place.ld, first, p.head_dim);
      place.copy<D>(second_tile, place.d_out + head * p.head_dim, place.ld_out, first, p.head_dim);
      ptx::cp_async_commit();
      if (threadIdx.x < kTile) {
        const bool inside = first + threadIdx.x < tile.length;
        const int64_t at = static_cast<int64_t>(tile.start + first + threadIdx.x) * p.heads + head;
        lse[threadIdx.x] = inside ? p.lse[at] : 0.0f;
        delta[threadIdx.x] = inside ? p.delta[at] : 0.0f;
      }
      ptx::cp_async_wait_group<0>();
      __syncthreads();
      float shares[kTile / 8][4], gradients[kTile / 8][4];
      multiply_heads<D, kTile, Tile>(shares, own_keys.fragments, first_tile);
      multiply_heads<D, kTile, Tile>(gradients, own_values.fragments, second_tile);
#pragma unroll
      for (uint32_t j = 0; j < kTile / 8; ++j) {
#pragma unroll
        for (uint32_t e = 0; e < 4; ++e) {
          const uint32_t column = j * 8 + lane_index() % 4 * 2 + e % 2;
          const uint32_t query = first + column;
          const bool counts = own_row + e / 2 * 8 <= query && query < tile.length;
          shares[j][e] = counts ? exp_f32(shares[j][e] * p.scale - lse[column]) : 0.0f;
          gradients[j][e] = shares[j][e] * (gradients[j][e] - delta[column]) * p.scale;
        }
      }
      multiply_rounded<D, kTile, Tile>(d_values, shares, second_tile);
      multiply_rounded<D, kTile, Tile>(d_keys, gradients, first_tile);
    }
  }
  float* to = p.d_qkv + static_cast<int64_t>(tile.start) * place.ld + (p.heads + kv_head) * p.head_dim;
  store_gradient<D>(d_keys, to, place.ld, own_row, tile.length, p.head_dim);
  store_gradient<D>(d_values, to + p.kv_heads * p.head_dim, place.ld, own_row, tile.length, p.head_dim);
}

GRADUS_KERNEL(kThreads, attention_backward_kv_64, AttentionBackwardParams) { backward_keys<64>(p); }
GRADUS_KERNEL(kThreads, attention_backward_kv_128, AttentionBackwardParams) { backward_keys<128>(p); }
