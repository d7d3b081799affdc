// y[m, n] = x[m, k] · weightᵀ + bias for few rows: decoding. Bound by reading the weights once: n · k bf16.
// The weights are the m16 operand, tokens the n8 one, so no lane multiplies padding at one token. Each output is the
// same chain of k16 steps as in forward.cu, with the factors of each product exchanged: equal bits. No split over k:
// the loads of a block are hidden by a deep ring of stages, and narrow blocks (16 weight rows) put every multiprocessor
// to work.
#include "gemm/decode_tile.cuh"

using Single = DecodeTile<16, 8, 8>;
using Narrow = DecodeTile<16, 32, 8>;
using Broad = DecodeTile<64, 32, 4>;

GRADUS_KERNEL(Single::kThreads, gemm_decode_16x8_bf16, GemmForwardParams) { Single::run<bf16>(p); }
GRADUS_KERNEL(Single::kThreads, gemm_decode_16x8_f32, GemmForwardParams) { Single::run<float>(p); }
GRADUS_KERNEL(Narrow::kThreads, gemm_decode_16x32_bf16, GemmForwardParams) { Narrow::run<bf16>(p); }
GRADUS_KERNEL(Narrow::kThreads, gemm_decode_16x32_f32, GemmForwardParams) { Narrow::run<float>(p); }
GRADUS_KERNEL(Broad::kThreads, gemm_decode_64x32_bf16, GemmForwardParams) { Broad::run<bf16>(p); }
GRADUS_KERNEL(Broad::kThreads, gemm_decode_64x32_f32, GemmForwardParams) { Broad::run<float>(p); }
