// Statistics of rows of logits (lse, logprob, entropy), and the gradient of the loss by the logits in their place.
// Forward reads the row twice, the second time from the cache; backward reads and writes it once.
#include "loss/loss.h"
#include "loss/row_statistics.cuh"

GRADUS_KERNEL(kRowThreads, softmax_statistics, SoftmaxStatisticsParams) {
  const uint32_t row = blockIdx.x;
  const float* logits = p.logits + static_cast<int64_t>(row) * p.vocab;
  const float inv_t = p.inv_t[row];
  const RowStatistics statistics = row_statistics(logits, p.vocab, inv_t, smem<float>(), nullptr);
  if (threadIdx.x != 0) return;
  const float lse = statistics.lse();
  p.lse[row] = lse;
  // The sampler has no id for a row without a distribution.
  const uint32_t target = p.targets[row];
  p.logprob[row] = target < p.vocab ? logits[target] * inv_t - lse : float_of(0x7fc00000u);
  p.entropy[row] = statistics.entropy();
}

constexpr uint32_t kThreads = 256;
constexpr uint32_t kColumns = 4096;

GRADUS_KERNEL(kThreads, softmax_backward, SoftmaxBackwardParams) {
  const uint32_t row = blockIdx.x;
  float* logits = p.logits + static_cast<int64_t>(row) * p.vocab;
  const uint32_t target = p.targets[row];
  const float inv_t = p.inv_t[row];
  const float lse = p.lse[row];
  const float scale = p.coefficient[row] * inv_t;
  const uint32_t end = min((blockIdx.y + 1) * kColumns, p.vocab);
  for (uint32_t id = blockIdx.y * kColumns + threadIdx.x; id < end; id += kThreads) {
    const float share = exp_f32(logits[id] * inv_t - lse);
    logits[id] = id == target ? scale * (share - 1.0f) : scale * share;
  }
}
