// One block's tile of a matrix product: a ring of asynchronously copied stages, fragments loaded one k16 step ahead.
//
// Every element of the result is one chain of k16 steps over aligned groups of 16 sum indices, from 0 on, in f32,
// whatever the tile: results do not depend on the tile's size, on the number of rows, or on a row's neighbours. Sum
// indices past the end are zeros in both operands.
#pragma once

#include "gemm/shared_tile.cuh"

/// Rows of the batch in one partial sum of a weight gradient.
constexpr uint32_t kGradientBlock = 64;

template <int ROWS, int COLS, int WARP_ROWS, int WARP_COLS, int STAGES, Layout LEFT, Layout RIGHT>
struct BlockTile {
  static constexpr int kStep = 32;  // sum indices a stage holds
  static constexpr int kRows = ROWS, kCols = COLS;
  static constexpr int kWarpsAlongCols = COLS / WARP_COLS;
  static constexpr int kThreads = ROWS / WARP_ROWS * kWarpsAlongCols * 32;
  static constexpr int kLeftFragments = WARP_ROWS / 16, kRightFragments = WARP_COLS / 8;

  template <Layout LAYOUT, int EDGE>
  struct Operand {
    static constexpr bool kAlongRows = LAYOUT == Layout::SumAlongRows;
    using Tile = SharedTile<kAlongRows ? EDGE : kStep, kAlongRows ? kStep : EDGE>;
    using Loader = TileLoader<kAlongRows ? EDGE : kStep, kAlongRows ? kStep : EDGE, kThreads>;
  };
  using Left = Operand<LEFT, ROWS>;
  using Right = Operand<RIGHT, COLS>;
  static constexpr uint32_t kStageBytes = Left::Tile::kBytes + Right::Tile::kBytes;
  static constexpr uint32_t kSharedBytes = STAGES * kStageBytes;
  static_assert(kSharedBytes <= 99 * 1024, "what a block of sm_80 kernels may have");

  using Sums = float[kLeftFragments][kRightFragments][4];

  uint32_t first_row, first_col;  // of the block in the result
  uint32_t warp_row, warp_col;    // of the warp in the block

  /// Takes its place among the tiles: eight tile rows at a time, so that blocks running together share operands in L2.
  __device__ __forceinline__ BlockTile(uint32_t rows, uint32_t cols) {
    constexpr uint32_t kGroup = 8;
    const uint32_t tile_rows = ceil_div<uint32_t>(rows, ROWS), tile_cols = ceil_div<uint32_t>(cols, COLS);
    const uint32_t group = blockIdx.x / (kGroup * tile_cols), place = blockIdx.x % (kGroup * tile_cols);
    const uint32_t group_rows = min(tile_rows - group * kGroup, kGroup);
    first_row = (group * kGroup + place % group_rows) * ROWS;
    first_col = place / group_rows * COLS;
    warp_row = warp_index() / kWarpsAlongCols * WARP_ROWS;
    warp_col = warp_index() % kWarpsAlongCols * WARP_COLS;
  }

  struct Fragments {
    uint32_t left[kLeftFragments][4];
    uint32_t right[kRightFragments][2];
  };

  __device__ __forceinline__ void load_fragments(Fragments& fragments, uint32_t stage, uint32_t k) const {
#pragma unroll
    for (int i = 0; i < kLeftFragments; ++i) {
      load_left<LEFT, typename Left::Tile>(fragments.left[i], stage, warp_row + i * 16, k);
    }
#pragma unroll
    for (int j = 0; j < kRightFragments; j += 2) {
      uint32_t pair[2][2];
      load_right<RIGHT, typename Right::Tile>(pair, stage + Left::Tile::kBytes, warp_col + j * 8, k);
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        fragments.right[j + e][0] = pair[e][0];
        fragments.right[j + e][1] = pair[e][1];
      }
    }
  }

  __device__ __forceinline__ static void multiply_fragments(Sums& sums, const Fragments& fragments) {
#pragma unroll
    for (int i = 0; i < kLeftFragments; ++i) {
#pragma unroll
      for (int j = 0; j < kRightFragments; ++j) ptx::mma_m16n8k16(sums[i][j], fragments.left[i], fragments.right[j]);
    }
  }

  /// sums += left · right over `length` sum indices, by all threads. After each stage `staged(index)` may use the sums.
  template <class Staged>
  __device__ __forceinline__ void multiply(Sums& sums, typename Left::Loader left, typename Right::Loader right,
                                           uint32_t length, Staged staged) const {
    const uint32_t shared = ptx::shared_address(smem<unsigned char>());
    const uint32_t stages = ceil_div<uint32_t>(length, kStep);
    const auto copy_stage = [&](uint32_t index) {
      if (index < stages) {
        const uint32_t stage = shared + index % STAGES * kStageBytes;
        left.copy(stage);
        right.copy(stage + Left::Tile::kBytes);
        left.template advance<LEFT, kStep>();
        right.template advance<RIGHT, kStep>();
      }
      ptx::cp_async_commit();
    };
    for (uint32_t index = 0; index < STAGES - 1; ++index) copy_stage(index);
    ptx::cp_async_wait_group<STAGES - 2>();
    __syncthreads();

    Fragments fragments[2];
    load_fragments(fragments[0], shared, 0);
    for (uint32_t index = 0; index < stages; ++index) {
      const uint32_t stage = shared + index % STAGES * kStageBytes;
      load_fragments(fragments[1], stage, 16);
      // Every warp has passed the barrier below: nobody reads the stage before this one any more.
      copy_stage(index + STAGES - 1);
      multiply_fragments(sums, fragments[0]);
      ptx::cp_async_wait_group<STAGES - 2>();
      __syncthreads();
      if (index + 1 < stages) load_fragments(fragments[0], shared + (index + 1) % STAGES * kStageBytes, 0);
      multiply_fragments(sums, fragments[1]);
      staged(index);
    }
  }

  /// Calls visit(row, column, first, second) for each pair of neighbouring elements of this thread inside the result:
  /// columns `column` and `column + 1`, the second of which may lie past the end.
  template <class Visit>
  __device__ __forceinline__ void for_each_pair(Sums& sums, uint32_t rows, uint32_t cols, Visit visit) const {
    const uint32_t row = first_row + warp_row + lane_index() / 4;
    const uint32_t col = first_col + warp_col + lane_index() % 4 * 2;
#pragma unroll
    for (int i = 0; i < kLeftFragments; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int j = 0; j < kRightFragments; ++j) {
          if (row + i * 16 + half * 8 < rows && col + j * 8 < cols) {
            visit(row + i * 16 + half * 8, col + j * 8, sums[i][j][half * 2], sums[i][j][half * 2 + 1]);
          }
        }
      }
    }
  }
};

/// Writes elements `col` and `col + 1` of a row of `cols`, at once where they are aligned.
__device__ __forceinline__ void write_pair(float* row, uint32_t col, uint32_t cols, bool aligned, float first,
                                           float second) {
  if (aligned && col + 1 < cols) {
    store_vector(row + col, Vector<float, 2>{{first, second}});
  } else {
    row[col] = first;
    if (col + 1 < cols) row[col + 1] = second;
  }
}
__device__ __forceinline__ void write_pair(bf16* row, uint32_t col, uint32_t cols, bool aligned, float first,
                                           float second) {
  if (aligned && col + 1 < cols) {
    *reinterpret_cast<bf16x2*>(row + col) = to_bf16x2(first, second);
  } else {
    row[col] = to_bf16(first);
    if (col + 1 < cols) row[col + 1] = to_bf16(second);
  }
}
