// Parameters and table of the matmul family. All bf16 operands: base address a multiple of 16 bytes, leading dimension
// (elements from row to row) a multiple of 8; what lies between a row's end and the next one's begin is never read.
#pragma once

#include <cstdint>

struct bf16;

/// y[m, n] = x[m, k] · weightᵀ (+ bias[n], added in f32 after the last k); weight is [n, k], bias may be null.
/// y is bf16 or f32 by the kernel's name; its leading dimension is free.
struct GemmForwardParams {
  const bf16* x;       // [m, k]
  const bf16* weight;  // [n, k]
  const bf16* bias;    // [n] or null
  void* y;             // [m, n]
  uint32_t m, n, k;
  uint32_t ld_x, ld_weight, ld_y;
};
static_assert(sizeof(GemmForwardParams) == 56, "mirrored in Rust");

/// d_x[m, k] = d_y[m, n] · weight; one chain over n.
struct GemmBackwardInputParams {
  const bf16* d_y;     // [m, n]
  const bf16* weight;  // [n, k]
  float* d_x;          // [m, k]
  uint32_t m, n, k;
  uint32_t ld_d_y, ld_weight, ld_d_x;
};
static_assert(sizeof(GemmBackwardInputParams) == 48, "mirrored in Rust");

/// d_weight[n, k] += d_yᵀ · x: a partial sum for each 64 rows of the batch, added to the gradient in order.
struct GemmBackwardWeightParams {
  const bf16* d_y;  // [m, n]
  const bf16* x;    // [m, k]
  float* d_weight;  // [n, k]
  uint32_t m, n, k;
  uint32_t ld_d_y, ld_x, ld_d_weight;
};
static_assert(sizeof(GemmBackwardWeightParams) == 48, "mirrored in Rust");

/// sums[n] += column sums of x[m, n]: a chain for each 64 rows, added in order.
struct ColumnSumParams {
  const float* x;  // [m, n]
  float* sums;     // [n]
  uint32_t m, n, ld_x, unused;
};
static_assert(sizeof(ColumnSumParams) == 32, "mirrored in Rust");

/// to[m, n] = from[m, n] rounded to bf16; columns n to ld_to become zero.
struct CastRowsParams {
  const float* from;  // [m, n], any leading dimension
  bf16* to;           // [m, n]
  uint32_t m, n, ld_from, ld_to;
};
static_assert(sizeof(CastRowsParams) == 32, "mirrored in Rust");

/// y[elements] = the sum of `count` parts of as many elements each, in order, rounded to bf16.
struct GemmSumPartsParams {
  const float* parts;  // [count, elements]
  bf16* y;             // [elements]
  uint64_t elements;
  uint32_t count, unused;
};
static_assert(sizeof(GemmSumPartsParams) == 32, "mirrored in Rust");

// Tiles of a block, [rows of the result] x [columns]: grid.x is the number of tiles,
// ceil(rows / R) · ceil(columns / C), with
//   gemm_forward_RxC:        rows m, columns n
//   gemm_decode_RxC:         rows n, columns m (the weights are the m16 operand); grid (ceil(n / R), ceil(m / C))
//   gemm_backward_input_RxC: rows m, columns k
//   gemm_backward_weight_RxC: rows n, columns k
// gemm_forward and gemm_decode give equal bits. A launch takes exactly the threads and the shared memory of its row.
// column_sum: grid ceil(n / 32). cast_rows: grid (m, ceil(ld_to / 1024)).
// gemm_split_RxC (split.cu, for a benchmark alone): the grid of gemm_decode_RxC or gemm_forward_RxC times the parts of the
// sum in grid.z; y is f32 [parts, m, n], ld_y is n, the bias null. gemm_sum_parts: grid ceil(elements / 256).
#define GRADUS_GEMM_KERNELS(X)                                          \
  X(gemm_forward_128x256_bf16, GemmForwardParams, 256, 98304)           \
  X(gemm_forward_128x256_f32, GemmForwardParams, 256, 98304)            \
  X(gemm_forward_128x128_bf16, GemmForwardParams, 128, 65536)           \
  X(gemm_forward_128x128_f32, GemmForwardParams, 128, 65536)            \
  X(gemm_decode_16x8_bf16, GemmForwardParams, 128, 49152)               \
  X(gemm_decode_16x8_f32, GemmForwardParams, 128, 49152)                \
  X(gemm_decode_16x32_bf16, GemmForwardParams, 128, 98304)              \
  X(gemm_decode_16x32_f32, GemmForwardParams, 128, 98304)               \
  X(gemm_decode_64x32_bf16, GemmForwardParams, 128, 98304)              \
  X(gemm_decode_64x32_f32, GemmForwardParams, 128, 98304)               \
  X(gemm_backward_input_128x256, GemmBackwardInputParams, 256, 98304)   \
  X(gemm_backward_input_128x128, GemmBackwardInputParams, 128, 65536)   \
  X(gemm_backward_weight_128x128, GemmBackwardWeightParams, 256, 65536) \
  X(column_sum, ColumnSumParams, 1024, 4224)                            \
  X(cast_rows, CastRowsParams, 256, 0)                                  \
  X(gemm_split_16x32, GemmForwardParams, 128, 98304)                    \
  X(gemm_split_64x32, GemmForwardParams, 128, 98304)                    \
  X(gemm_split_128x128, GemmForwardParams, 128, 65536)                  \
  X(gemm_sum_parts, GemmSumPartsParams, 256, 0)
