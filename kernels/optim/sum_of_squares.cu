// Σ of squares of a gradient in f64, for clipping: a block adds 65,536 elements by a fixed tree.
#include "common/reduce.cuh"
#include "optim/optim.h"

constexpr uint32_t kThreads = 256;
constexpr uint64_t kElements = 65536;

GRADUS_KERNEL(kThreads, sum_of_squares, SumOfSquaresParams) {
  const uint64_t first = uint64_t{blockIdx.x} * kElements;
  const uint64_t end = min(first + kElements, p.len);
  double sum = 0.0;
  for (uint64_t at = first + threadIdx.x; at < end; at += kThreads) {
    const double value = static_cast<double>(p.values[at]);
    // The square of an f32 is exact in f64.
    sum += value * value;
  }
  sum = block_sum<kThreads / kWarpSize>(sum, smem<double>());
  if (threadIdx.x == 0) p.partials[blockIdx.x] = sum;
}
