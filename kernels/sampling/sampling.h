// Parameters and table of the sampler.
#pragma once

#include <cstdint>

/// One id a row of logits: drawn within the row's limits, or the highest where greedy. What the arrays mean stands in
/// crates/ops.
struct SampleParams {
  const float* logits;        // [rows, vocab]
  const float* inv_t;         // [rows]
  const uint32_t* greedy;     // [rows]
  const uint32_t* streams;    // [rows, 4]: Philox key (low, high), stream (low, high)
  const uint32_t* positions;  // [rows]
  const uint32_t* top_k;      // [rows], 0 for all
  const float* top_p;         // [rows]
  const float* min_p;         // [rows]
  uint32_t* ids;              // [rows]; 0xffffffff where a row has no distribution
  float* lse;                 // [rows]
  float* logprob;             // [rows]
  float* entropy;             // [rows]
  uint32_t rows, vocab;
};
static_assert(sizeof(SampleParams) == 104, "mirrored in Rust");

/// Changes single logits and keeps what they were, or puts it back.
struct AdjustLogitsParams {
  float* logits;            // [rows, vocab]
  const uint32_t* offsets;  // [rows + 1]: the entries of each row
  const uint32_t* ids;      // [entries], each at most once in a row
  const float* biases;      // [entries]
  const float* repetition_penalties;
  const float* reductions;
  float* saved;  // [entries]
  uint32_t rows, vocab;
};
static_assert(sizeof(AdjustLogitsParams) == 64, "mirrored in Rust");

/// Tiles of 256 ids that fit into the sampler's shared memory.
constexpr uint32_t kSampleTilesMax = 1024;

// Grid: rows. The vocabulary has at most 256 · kSampleTilesMax ids.
#define GRADUS_SAMPLING_KERNELS(X)             \
  X(sample, SampleParams, 1024, 21024)         \
  X(adjust_logits, AdjustLogitsParams, 128, 0) \
  X(restore_logits, AdjustLogitsParams, 128, 0)
