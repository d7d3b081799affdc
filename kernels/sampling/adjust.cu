// Bias and penalties on single logits before a draw, and back again: the statistics are those of the untouched logits.
#include "common/elementary.cuh"
#include "sampling/sampling.h"

constexpr uint32_t kThreads = 128;

/// l + bias, then the repetition penalty, then less the reduction, each rounded once.
GRADUS_KERNEL(kThreads, adjust_logits, AdjustLogitsParams) {
  float* logits = p.logits + static_cast<int64_t>(blockIdx.x) * p.vocab;
  for (uint32_t i = p.offsets[blockIdx.x] + threadIdx.x; i < p.offsets[blockIdx.x + 1]; i += kThreads) {
    const float former = logits[p.ids[i]];
    const float biased = former + p.biases[i];
    const float penalty = p.repetition_penalties[i];
    p.saved[i] = former;
    logits[p.ids[i]] = (biased > 0.0f ? biased / penalty : biased * penalty) - p.reductions[i];
  }
}

GRADUS_KERNEL(kThreads, restore_logits, AdjustLogitsParams) {
  float* logits = p.logits + static_cast<int64_t>(blockIdx.x) * p.vocab;
  for (uint32_t i = p.offsets[blockIdx.x] + threadIdx.x; i < p.offsets[blockIdx.x + 1]; i += kThreads) {
    logits[p.ids[i]] = p.saved[i];
  }
}
