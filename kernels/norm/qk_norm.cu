// Qwen3's norm of each query and key head, and its backward. A warp takes one head of one token; lanes take every 32nd
// element.
#include "common/reduce.cuh"
#include "common/types.cuh"
#include "norm/norm.h"

constexpr uint32_t kThreads = 256;
constexpr uint32_t kWarps = kThreads / kWarpSize;

GRADUS_KERNEL(kThreads, qk_norm, QkNormParams) {
  const uint32_t token = blockIdx.x;
  const uint32_t head = blockIdx.y * kWarps + warp_index();
  const uint32_t heads_normed = p.heads + p.kv_heads;
  const uint32_t heads_all = heads_normed + p.kv_heads;
  // A warp is inside or outside as a whole, and no barrier of the block follows.
  if (head >= heads_all) return;
  const int64_t start = (static_cast<int64_t>(token) * heads_all + head) * p.head_dim;
  const bf16* from = p.qkv + start;
  bf16* to = p.qkv_out + start;
  if (head >= heads_normed) {
    for (uint32_t i = lane_index(); i < p.head_dim; i += kWarpSize) to[i] = from[i];
    return;
  }
  float squares = 0.0f;
  for (uint32_t i = lane_index(); i < p.head_dim; i += kWarpSize) {
    squares = fused(to_float(from[i]), to_float(from[i]), squares);
  }
  squares = warp_sum(squares);
  const float rstd = 1.0f / square_root(squares / static_cast<float>(p.head_dim) + p.eps);
  if (lane_index() == 0) p.rstd[static_cast<int64_t>(token) * heads_normed + head] = rstd;
  const bf16* weight = head < p.heads ? p.q_weight : p.k_weight;
  for (uint32_t i = lane_index(); i < p.head_dim; i += kWarpSize) {
    to[i] = to_bf16(to_float(from[i]) * rstd * to_float(weight[i]));
  }
}

/// As rms_norm_backward, but the gradient takes the place of the one that came in.
GRADUS_KERNEL(kThreads, qk_norm_backward, QkNormBackwardParams) {
  const uint32_t token = blockIdx.x;
  const uint32_t head = blockIdx.y * kWarps + warp_index();
  const uint32_t heads_normed = p.heads + p.kv_heads;
  if (head >= heads_normed) return;
  const int64_t start = (static_cast<int64_t>(token) * (heads_normed + p.kv_heads) + head) * p.head_dim;
  const bf16* from = p.qkv + start;
  float* gradient = p.d_qkv + start;
  const bf16* weight = head < p.heads ? p.q_weight : p.k_weight;
  float dot = 0.0f;
  for (uint32_t i = lane_index(); i < p.head_dim; i += kWarpSize) {
    dot = fused(gradient[i] * to_float(weight[i]), to_float(from[i]), dot);
  }
  dot = warp_sum(dot);
  const float rstd = p.rstd[static_cast<int64_t>(token) * heads_normed + head];
  const float along = dot * rstd * rstd * rstd / static_cast<float>(p.head_dim);
  for (uint32_t i = lane_index(); i < p.head_dim; i += kWarpSize) {
    const float direct = gradient[i] * to_float(weight[i]) * rstd;
    gradient[i] = direct - to_float(from[i]) * along;
  }
}

/// A thread adds up one column of a block of 64 tokens: token by token, head by head.
GRADUS_KERNEL(kThreads, qk_norm_weight, QkNormWeightParams) {
  constexpr uint32_t kTokensPerSum = 64;
  const uint32_t first = blockIdx.x * kTokensPerSum;
  const uint32_t end = min(first + kTokensPerSum, p.tokens);
  for (uint32_t col = threadIdx.x; col < p.head_dim; col += kThreads) {
    float sum = 0.0f;
    for (uint32_t token = first; token < end; ++token) {
      for (uint32_t head = p.first_head; head < p.first_head + p.heads; ++head) {
        const int64_t at = (static_cast<int64_t>(token) * p.heads_all + head) * p.head_dim + col;
        const float rstd = p.rstd[static_cast<int64_t>(token) * p.heads_normed + head];
        sum = fused(p.d_qkv[at], to_float(p.qkv[at]) * rstd, sum);
      }
    }
    p.partials[static_cast<int64_t>(blockIdx.x) * p.head_dim + col] = sum;
  }
}
