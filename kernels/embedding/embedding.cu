// Rows of the embedding, and its backward without atomics: a row's gradient is one chain over its tokens in order.
#include "common/types.cuh"
#include "embedding/embedding.h"

constexpr uint32_t kThreads = 256;
constexpr uint32_t kWarps = kThreads / kWarpSize;
constexpr uint32_t kColumns = 1024;

template <class T>
__device__ __forceinline__ void embed_columns(const EmbeddingParams& p) {
  const bf16* from = p.weight + static_cast<int64_t>(p.ids[blockIdx.x]) * p.ld_weight;
  T* to = static_cast<T*>(p.out) + static_cast<int64_t>(blockIdx.x) * p.cols;
  const uint32_t end = min((blockIdx.y + 1) * kColumns, p.cols);
  for (uint32_t col = blockIdx.y * kColumns + threadIdx.x; col < end; col += kThreads) {
    write_element(to + col, to_float(from[col]));
  }
}

GRADUS_KERNEL(kThreads, embedding_bf16, EmbeddingParams) { embed_columns<bf16>(p); }
GRADUS_KERNEL(kThreads, embedding_f32, EmbeddingParams) { embed_columns<float>(p); }

/// The bits of the 256 tokens from `first` on whose id is `id`, in shared memory; all threads of the block call it.
__device__ __forceinline__ void find_tokens(uint32_t* found, const uint32_t* ids, uint32_t first, uint32_t end,
                                            uint32_t id) {
  const uint32_t token = first + threadIdx.x;
  const uint32_t bits = __ballot_sync(kFullMask, token < end && ids[token] == id);
  __syncthreads();
  if (lane_index() == 0) found[warp_index()] = bits;
  __syncthreads();
}

/// Block t works only where token t is the first of its id; it then adds all tokens of that id.
GRADUS_KERNEL(kThreads, embedding_backward, EmbeddingBackwardParams) {
  uint32_t* found = smem<uint32_t>();  // [kWarps]
  const uint32_t own = blockIdx.x;
  const uint32_t id = p.ids[own];
  for (uint32_t first = 0; first < own; first += kThreads) {
    find_tokens(found, p.ids, first, own, id);
    for (uint32_t warp = 0; warp < kWarps; ++warp) {
      // The whole block sees the same bits.
      if (found[warp] != 0) return;
    }
  }
  float* to = p.d_weight + static_cast<int64_t>(id) * p.ld_weight;
  for (uint32_t first = own; first < p.tokens; first += kThreads) {
    find_tokens(found, p.ids, first, p.tokens, id);
    for (uint32_t warp = 0; warp < kWarps; ++warp) {
      for (uint32_t bits = found[warp]; bits != 0; bits &= bits - 1) {
        const uint32_t token = first + warp * kWarpSize + static_cast<uint32_t>(__ffs(static_cast<int>(bits)) - 1);
        const float* from = p.d_out + static_cast<int64_t>(token) * p.cols;
        // A column belongs to one thread, so its chain keeps the order of tokens.
        for (uint32_t col = threadIdx.x; col < p.cols; col += kThreads) to[col] += from[col];
      }
    }
  }
}
