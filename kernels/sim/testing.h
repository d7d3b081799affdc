// Small tools of the simulator's own tests: device arrays, launches, bf16 on the host, comparisons.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "sim/sim.h"

namespace testing {

inline int failures = 0;

/// One line of the report: "ok name" or "failed name: why".
inline void report(const std::string& name, bool good, const std::string& why = "") {
  std::printf("%s %s%s%s\n", good ? "ok" : "failed", name.c_str(), good ? "" : ": ", good ? "" : why.c_str());
  failures += good ? 0 : 1;
}

[[noreturn]] inline void stop(const std::string& why) {
  std::printf("failed: %s\n", why.c_str());
  std::exit(1);
}
inline void expect_none(const char* error) {
  if (error != nullptr) stop(error);
}

inline float bf16_to_float(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value;
  std::memcpy(&value, &wide, 4);
  return value;
}
inline uint16_t float_to_bf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// Numbers in [-1, 1) from a seed.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
  float next() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<float>(static_cast<int32_t>(state_ >> 32)) * 0x1p-31f;
  }

 private:
  uint64_t state_;
};

/// Device memory of exactly `count` elements.
template <class T>
class Array {
 public:
  explicit Array(size_t count) : count_(count) { expect_none(gradus_sim_alloc(count * sizeof(T), &address_)); }
  explicit Array(const std::vector<T>& values) : Array(values.size()) { write(values); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  ~Array() { expect_none(gradus_sim_free(address_)); }

  T* device() const { return reinterpret_cast<T*>(address_); }
  void write(const std::vector<T>& values) {
    expect_none(gradus_sim_copy_to_device(address_, values.data(), values.size() * sizeof(T)));
  }
  std::vector<T> read() const {
    std::vector<T> values(count_);
    expect_none(gradus_sim_copy_to_host(values.data(), address_, count_ * sizeof(T)));
    return values;
  }

 private:
  size_t count_;
  uint64_t address_ = 0;
};

/// A row-major bf16 matrix whose rows are padded to a multiple of 8 elements with NaN; the values are also at hand as
/// f32.
struct Matrix {
  uint32_t rows, cols, ld;
  std::vector<float> values;  // [rows, cols]
  Array<uint16_t> memory;

  Matrix(uint32_t rows_, uint32_t cols_, Random& random)
      : rows(rows_),
        cols(cols_),
        ld((cols_ + 7) / 8 * 8),
        values(uint64_t{rows_} * cols_),
        memory(uint64_t{rows_} * ld) {
    std::vector<uint16_t> padded(uint64_t{rows} * ld, 0xffff);
    for (uint32_t r = 0; r < rows; ++r) {
      for (uint32_t c = 0; c < cols; ++c) {
        const uint16_t bits = float_to_bf16(random.next());
        padded[uint64_t{r} * ld + c] = bits;
        values[uint64_t{r} * cols + c] = bf16_to_float(bits);
      }
    }
    memory.write(padded);
  }
  float at(uint32_t row, uint32_t col) const { return values[uint64_t{row} * cols + col]; }
};

/// Launches with all the threads and shared memory of the kernel's table row; the error or null.
template <class Params>
const char* try_launch(const char* name, uint32_t grid_x, uint32_t grid_y, const Params& params, uint64_t seed) {
  for (uint32_t i = 0; i < gradus_sim_kernels(); ++i) {
    const GradusSimKernel* kernel = gradus_sim_kernel(i);
    if (std::strcmp(kernel->name, name) != 0) continue;
    const uint32_t grid[3] = {grid_x, grid_y, 1}, block[3] = {kernel->threads_max, 1, 1};
    return gradus_sim_launch(name, grid, block, kernel->shared_bytes, &params, sizeof(params), seed);
  }
  return "no such kernel";
}
template <class Params>
void launch(const char* name, uint32_t grid_x, uint32_t grid_y, const Params& params, uint64_t seed) {
  expect_none(try_launch(name, grid_x, grid_y, params, seed));
}

inline double relative_l2(const std::vector<float>& found, const std::vector<double>& expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (found[i] - expected[i]) * (found[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

void test_planted_faults();
void test_elementary_functions();
void test_gemm(uint64_t seed);
void test_adamw();
/// One product by the big tile against f64, and masters after updates that change none, for sources that were broken on
/// purpose: the error, "differs" or "right".
std::string probe_gemm();
std::string probe_adamw();

}  // namespace testing
