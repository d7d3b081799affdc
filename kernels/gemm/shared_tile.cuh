// Tiles of bf16 matrices in shared memory: swizzled so that eight rows of a column of 16-byte chunks lie in different
// banks, filled by asynchronous copies, read as fragments of mma.sync.
#pragma once

#include "common/device.cuh"
#include "common/ptx.cuh"
#include "common/types.cuh"

/// Whether the sum's index runs along a row of the stored matrix (x and weight of x · weightᵀ), or down its columns.
enum class Layout { SumAlongRows, SumAlongColumns };

/// ROWS x COLS elements, rows of COLS / 8 chunks of 16 bytes.
template <int ROWS, int COLS>
struct SharedTile {
  static constexpr int kChunks = COLS / 8;
  static constexpr uint32_t kBytes = ROWS * COLS * 2;
  static_assert(kChunks == 4 || kChunks % 8 == 0, "the swizzle knows rows of 64 bytes and of multiples of 128");

  /// Byte offset of a chunk. Eight rows of 64 bytes are four lines of 128: there the row pair decides.
  __device__ __forceinline__ static uint32_t offset(uint32_t row, uint32_t chunk) {
    const uint32_t swizzled = kChunks == 4 ? chunk ^ (row / 2 % 4) : chunk ^ (row % 8);
    return (row * kChunks + swizzled) * 16;
  }
};

/// What one thread of THREADS copies of each tile: the same chunk column of every THREADS / chunks-th row.
/// Outside the matrix tiles are filled with zeros, which add nothing to a sum.
template <int ROWS, int COLS, int THREADS>
struct TileLoader {
  using Tile = SharedTile<ROWS, COLS>;
  static constexpr int kRowsApart = THREADS / Tile::kChunks;
  static constexpr int kPasses = ROWS / kRowsApart;
  static_assert(kRowsApart % 8 == 0 && ROWS % kRowsApart == 0, "every pass has the same swizzle");

  const bf16* origin;
  const bf16* from;  // this thread's first chunk of the next tile; may point outside
  int64_t ld;
  uint32_t rows, cols;  // of the matrix
  uint32_t row, col;    // of `from`
  uint32_t offset;      // of its place in a tile

  __device__ __forceinline__ TileLoader(const bf16* matrix, uint32_t ld_, uint32_t rows_, uint32_t cols_,
                                        uint32_t first_row, uint32_t first_col)
      : origin(matrix), ld(ld_), rows(rows_), cols(cols_) {
    const uint32_t tile_row = threadIdx.x / Tile::kChunks;
    const uint32_t chunk = threadIdx.x % Tile::kChunks;
    row = first_row + tile_row;
    col = first_col + chunk * 8;
    from = matrix + static_cast<int64_t>(row) * ld + col;
    offset = Tile::offset(tile_row, chunk);
  }

  /// Starts the copies of one tile to the shared address `tile`.
  __device__ __forceinline__ void copy(uint32_t tile) const {
    const uint32_t elements = col < cols ? min(cols - col, 8u) : 0u;
#pragma unroll
    for (int pass = 0; pass < kPasses; ++pass) {
      const bool inside = elements > 0 && row + pass * kRowsApart < rows;
      const bf16* source = inside ? from + pass * kRowsApart * ld : origin;
      ptx::cp_async_16(tile + offset + pass * (THREADS * 16), source, inside ? elements * 2 : 0);
    }
  }

  template <Layout LAYOUT, int STEP>
  __device__ __forceinline__ void advance() {
    if constexpr (LAYOUT == Layout::SumAlongRows) {
      from += STEP;
      col += STEP;
    } else {
      from += STEP * ld;
      row += STEP;
    }
  }
};

/// The left operand's fragment [16, 16]: rows from `first` on, sum indices from `k` on.
template <Layout LAYOUT, class Tile>
__device__ __forceinline__ void load_left(uint32_t (&fragment)[4], uint32_t tile, uint32_t first, uint32_t k) {
  const uint32_t lane = lane_index(), matrix = lane / 8;
  if constexpr (LAYOUT == Layout::SumAlongRows) {
    ptx::ldmatrix_x4(fragment, tile + Tile::offset(first + matrix % 2 * 8 + lane % 8, k / 8 + matrix / 2));
  } else {
    ptx::ldmatrix_x4_trans(fragment, tile + Tile::offset(k + matrix / 2 * 8 + lane % 8, first / 8 + matrix % 2));
  }
}

/// Two neighbouring fragments [16, 8] of the right operand: columns of the result from `first` on.
template <Layout LAYOUT, class Tile>
__device__ __forceinline__ void load_right(uint32_t (&fragments)[2][2], uint32_t tile, uint32_t first, uint32_t k) {
  const uint32_t lane = lane_index(), matrix = lane / 8;
  uint32_t loaded[4];
  if constexpr (LAYOUT == Layout::SumAlongRows) {
    ptx::ldmatrix_x4(loaded, tile + Tile::offset(first + matrix / 2 * 8 + lane % 8, k / 8 + matrix % 2));
  } else {
    ptx::ldmatrix_x4_trans(loaded, tile + Tile::offset(k + matrix % 2 * 8 + lane % 8, first / 8 + matrix / 2));
  }
  fragments[0][0] = loaded[0];
  fragments[0][1] = loaded[1];
  fragments[1][0] = loaded[2];
  fragments[1][1] = loaded[3];
}
