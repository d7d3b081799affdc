// RMS norm with the residual addition before it, and its backward; a block takes one row of `dim` elements.
// Forward reads residual and delta, writes sum and out: 10 bytes an element from bf16, limited by bandwidth.
#include "common/reduce.cuh"
#include "common/types.cuh"
#include "norm/norm.h"

constexpr uint32_t kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;

/// The sum row, rounded as it is stored, and this thread's part of Σ sum². Thread t takes N neighbours from t · N on.
template <int N, class R>
__device__ __forceinline__ float store_sums(const R* residual, const float* delta, bf16* sum, uint32_t dim) {
  float squares = 0.0f;
  for (uint32_t col = threadIdx.x * N; col < dim; col += kThreads * N) {
    Vector<bf16, N> rounded;
    for (int i = 0; i < N; ++i) {
      float value = read_element(residual + col + i);
      if (delta != nullptr) value += delta[col + i];
      rounded[i] = to_bf16(value);
      const float stored = to_float(rounded[i]);
      squares = fused(stored, stored, squares);
    }
    store_vector(sum + col, rounded);
  }
  return squares;
}

template <int N>
__device__ __forceinline__ void store_outputs(const bf16* sum, const bf16* weight, bf16* out, uint32_t dim,
                                              float rstd) {
  for (uint32_t col = threadIdx.x * N; col < dim; col += kThreads * N) {
    // The thread's own stores: no barrier is needed.
    const Vector<bf16, N> value = load_vector<N>(sum + col);
    const Vector<bf16, N> scale = load_vector<N>(weight + col);
    Vector<bf16, N> result;
    for (int i = 0; i < N; ++i) result[i] = to_bf16(to_float(value[i]) * rstd * to_float(scale[i]));
    store_vector(out + col, result);
  }
}

template <int N, class R>
__device__ __forceinline__ void norm_row(const RmsNormParams& p) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * p.dim;
  const R* residual = static_cast<const R*>(p.residual) + start;
  const float* delta = p.delta == nullptr ? nullptr : p.delta + start;
  const float squares = block_sum<kWarps>(store_sums<N>(residual, delta, p.sum + start, p.dim), smem<float>());
  const float rstd = 1.0f / square_root(squares / static_cast<float>(p.dim) + p.eps);
  if (threadIdx.x == 0) p.rstd[blockIdx.x] = rstd;
  store_outputs<N>(p.sum + start, p.weight, p.out + start, p.dim, rstd);
}

// Rows of other lengths are not aligned to vectors.
GRADUS_KERNEL(kThreads, rms_norm_bf16, RmsNormParams) { p.dim % 8 == 0 ? norm_row<8, bf16>(p) : norm_row<1, bf16>(p); }
GRADUS_KERNEL(kThreads, rms_norm_f32, RmsNormParams) { p.dim % 8 == 0 ? norm_row<8, float>(p) : norm_row<1, float>(p); }

/// With x = sum, g = d_out · weight: d_x = rstd · g − x · rstd³ / dim · Σ g · x.
GRADUS_KERNEL(kThreads, rms_norm_backward, RmsNormBackwardParams) {
  const int64_t start = static_cast<int64_t>(blockIdx.x) * p.dim;
  const bf16* sum = p.sum + start;
  const float* d_out = p.d_out + start;
  float* d_sum = p.d_sum + start;
  float dot = 0.0f;
  for (uint32_t col = threadIdx.x; col < p.dim; col += kThreads) {
    dot = fused(d_out[col] * to_float(p.weight[col]), to_float(sum[col]), dot);
  }
  dot = block_sum<kWarps>(dot, smem<float>());
  const float rstd = p.rstd[blockIdx.x];
  const float along = dot * rstd * rstd * rstd / static_cast<float>(p.dim);
  for (uint32_t col = threadIdx.x; col < p.dim; col += kThreads) {
    const float direct = d_out[col] * to_float(p.weight[col]) * rstd;
    d_sum[col] += direct - to_float(sum[col]) * along;
  }
}
