// Parameters and table of the loss: statistics of rows of logits and their gradient.
#pragma once

#include <cstdint>

/// Of z = logits[rows, vocab] · inv_t: lse, logprob of the target, entropy of softmax(z), each [rows].
struct SoftmaxStatisticsParams {
  const float* logits;      // [rows, vocab]
  const uint32_t* targets;  // [rows], each below vocab
  const float* inv_t;       // [rows]
  float* lse;
  float* logprob;
  float* entropy;
  uint32_t rows, vocab;
};
static_assert(sizeof(SoftmaxStatisticsParams) == 56, "mirrored in Rust");

/// In place: logits[r, v] becomes coefficient[r] · inv_t[r] · (softmax(z)[v] − [v = target]).
struct SoftmaxBackwardParams {
  float* logits;             // [rows, vocab]
  const uint32_t* targets;   // [rows]
  const float* inv_t;        // [rows]
  const float* lse;          // [rows], of softmax_statistics
  const float* coefficient;  // [rows]
  uint32_t rows, vocab;
};
static_assert(sizeof(SoftmaxBackwardParams) == 48, "mirrored in Rust");

// softmax_statistics: grid rows. softmax_backward: grid (rows, ceil(vocab / 4096)).
#define GRADUS_LOSS_KERNELS(X)                              \
  X(softmax_statistics, SoftmaxStatisticsParams, 1024, 512) \
  X(softmax_backward, SoftmaxBackwardParams, 256, 0)
