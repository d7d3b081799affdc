// delta = Σ of d_out · out over a head: what the softmax's gradient subtracts from every dP of the row. A warp takes a
// head.
#include "attention/attention.h"
#include "common/reduce.cuh"
#include "common/types.cuh"

constexpr uint32_t kThreads = 256;
constexpr uint32_t kWarps = kThreads / kWarpSize;

GRADUS_KERNEL(kThreads, attention_delta, AttentionDeltaParams) {
  const uint32_t head = blockIdx.y * kWarps + warp_index();
  // A warp is inside or outside as a whole, and no barrier of the block follows.
  if (head >= p.heads) return;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * p.heads + head;
  float sum = 0.0f;
  for (uint32_t i = lane_index(); i < p.head_dim; i += kWarpSize) {
    sum = fused(p.d_out[row * p.head_dim + i], to_float(p.out[row * p.head_dim + i]), sum);
  }
  sum = warp_sum(sum);
  if (lane_index() == 0) p.delta[row] = sum;
}
