// A block's tile of a product with few rows: the weights are the m16 operand, tokens the n8 one, in a deep ring of stages.
#pragma once

#include "gemm/gemm.h"
#include "gemm/shared_tile.cuh"

template <int WEIGHT_ROWS, int TOKENS, int STAGES>
struct DecodeTile {
  static constexpr int kStep = 128;  // sum indices a stage holds
  static constexpr int kThreads = 128;
  static constexpr int kWarpsAlongWeights = WEIGHT_ROWS / 16;
  static constexpr int kWarpsAlongTokens = 4 / kWarpsAlongWeights;
  /// Tokens of one warp, in fragments of eight. With eight tokens in all, one warp multiplies and the others only load.
  static constexpr int kFragments = TOKENS >= 8 * kWarpsAlongTokens ? TOKENS / kWarpsAlongTokens / 8 : 1;
  using Weights = SharedTile<WEIGHT_ROWS, kStep>;
  using Inputs = SharedTile<TOKENS, kStep>;
  static constexpr uint32_t kStageBytes = Weights::kBytes + Inputs::kBytes;
  static constexpr uint32_t kSharedBytes = STAGES * kStageBytes;
  static_assert(kSharedBytes <= 99 * 1024, "what a block of sm_80 kernels may have");

  template <class Out>
  __device__ __forceinline__ static void run(const GemmForwardParams& p) {
    const uint32_t first_row = blockIdx.x * WEIGHT_ROWS, first_token = blockIdx.y * TOKENS;
    const uint32_t warp_row = warp_index() % kWarpsAlongWeights * 16;
    const uint32_t warp_token = warp_index() / kWarpsAlongWeights * (kFragments * 8);
    const bool multiplies = warp_token < TOKENS && first_token + warp_token < p.m;
    TileLoader<WEIGHT_ROWS, kStep, kThreads> weights(p.weight, p.ld_weight, p.n, p.k, first_row, 0);
    TileLoader<TOKENS, kStep, kThreads> inputs(p.x, p.ld_x, p.m, p.k, first_token, 0);
    const uint32_t shared = ptx::shared_address(smem<unsigned char>());
    const uint32_t stages = ceil_div<uint32_t>(p.k, kStep);
    const auto copy_stage = [&](uint32_t index) {
      if (index < stages) {
        const uint32_t stage = shared + index % STAGES * kStageBytes;
        weights.copy(stage);
        inputs.copy(stage + Weights::kBytes);
        weights.template advance<Layout::SumAlongRows, kStep>();
        inputs.template advance<Layout::SumAlongRows, kStep>();
      }
      ptx::cp_async_commit();
    };
    for (uint32_t index = 0; index < STAGES - 1; ++index) copy_stage(index);

    float sums[kFragments][4] = {};
    for (uint32_t index = 0; index < stages; ++index) {
      ptx::cp_async_wait_group<STAGES - 2>();
      __syncthreads();
      // The stage that this one overwrites was read before the barrier.
      copy_stage(index + STAGES - 1);
      if (multiplies) multiply_stage(sums, shared + index % STAGES * kStageBytes, warp_row, warp_token);
    }
    if (multiplies) write<Out>(p, sums, first_row + warp_row, first_token + warp_token);
  }

  __device__ __forceinline__ static void multiply_stage(float (&sums)[kFragments][4], uint32_t stage, uint32_t row,
                                                        uint32_t token) {
    const uint32_t lane = lane_index();
#pragma unroll
    for (uint32_t k = 0; k < kStep; k += 32) {
      uint32_t left[2][4];
      load_left<Layout::SumAlongRows, Weights>(left[0], stage, row, k);
      load_left<Layout::SumAlongRows, Weights>(left[1], stage, row, k + 16);
#pragma unroll
      for (int j = 0; j < kFragments; ++j) {
        // Eight tokens, 32 sum indices: two fragments of one column of the result.
        uint32_t loaded[4];
        ptx::ldmatrix_x4(loaded, stage + Weights::kBytes + Inputs::offset(token + j * 8 + lane % 8, k / 8 + lane / 8));
        const uint32_t first[2] = {loaded[0], loaded[1]}, second[2] = {loaded[2], loaded[3]};
        ptx::mma_m16n8k16(sums[j], left[0], first);
        ptx::mma_m16n8k16(sums[j], left[1], second);
      }
    }
  }

  template <class Out>
  __device__ __forceinline__ static void write(const GemmForwardParams& p, const float (&sums)[kFragments][4],
                                               uint32_t row, uint32_t token) {
    Out* y = static_cast<Out*>(p.y);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const uint32_t n = row + half * 8 + lane_index() / 4;
      if (n >= p.n) continue;
      const float bias = p.bias != nullptr ? to_float(p.bias[n]) : 0.0f;
#pragma unroll
      for (int j = 0; j < kFragments; ++j) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const uint32_t m = token + j * 8 + lane_index() % 4 * 2 + e;
          const float sum = sums[j][half * 2 + e];
          if (m < p.m) write_element(y + static_cast<int64_t>(m) * p.ld_y + n, p.bias != nullptr ? sum + bias : sum);
        }
      }
    }
  }
};
