// silu(gate) · up and its backward; a thread takes 8 neighbours of a row (one where rows are not aligned to 8).
// Forward moves 6 bytes an element of out, backward 16.
#include "common/elementary.cuh"
#include "common/types.cuh"
#include "mlp/mlp.h"

constexpr uint32_t kThreads = 256;
constexpr uint32_t kColumns = 8 * kThreads;

template <int N>
__device__ __forceinline__ void swiglu_columns(const SwigluParams& p) {
  const bf16* gates = p.gate_up + static_cast<int64_t>(blockIdx.x) * 2 * p.ffn;
  bf16* out = p.out + static_cast<int64_t>(blockIdx.x) * p.ffn;
  const uint32_t end = min((blockIdx.y + 1) * kColumns, p.ffn);
  for (uint32_t col = blockIdx.y * kColumns + threadIdx.x * N; col < end; col += kThreads * N) {
    const Vector<bf16, N> gate = load_vector<N>(gates + col);
    const Vector<bf16, N> up = load_vector<N>(gates + p.ffn + col);
    Vector<bf16, N> result;
    for (int i = 0; i < N; ++i) {
      const float value = to_float(gate[i]);
      result[i] = to_bf16(value * sigmoid_f32(value) * to_float(up[i]));
    }
    store_vector(out + col, result);
  }
}

GRADUS_KERNEL(kThreads, swiglu, SwigluParams) { p.ffn % 8 == 0 ? swiglu_columns<8>(p) : swiglu_columns<1>(p); }

/// silu'(x) = s · (1 + x · (1 − s)) with s the sigmoid of x.
GRADUS_KERNEL(kThreads, swiglu_backward, SwigluBackwardParams) {
  const int64_t pairs = static_cast<int64_t>(blockIdx.x) * 2 * p.ffn;
  const float* d_out = p.d_out + static_cast<int64_t>(blockIdx.x) * p.ffn;
  const uint32_t end = min((blockIdx.y + 1) * kColumns, p.ffn);
  for (uint32_t col = blockIdx.y * kColumns + threadIdx.x; col < end; col += kThreads) {
    const float gate = to_float(p.gate_up[pairs + col]);
    const float up = to_float(p.gate_up[pairs + p.ffn + col]);
    const float share = sigmoid_f32(gate);
    p.d_gate_up[pairs + col] = d_out[col] * up * share * fused(gate, 1.0f - share, 1.0f);
    p.d_gate_up[pairs + p.ffn + col] = d_out[col] * gate * share;
  }
}
