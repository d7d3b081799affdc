// Tests of the simulator and of families that have tests in C++, run by sim.test.ts. `tests` runs all and prints a line
// each; `tests probe gemm` and `tests probe adamw` do one thing and print what came of it: "right", "differs" or the
// simulator's error.
#include <cfloat>

#include "common/elementary.cuh"
#include "sim/machine.h"
#include "sim/planted.h"
#include "sim/table.h"
#include "sim/testing.h"

#define DECLARE(name, Params, threads_max, shared_bytes) extern "C" void name(const Params p);
GRADUS_PLANTED_KERNELS(DECLARE)

namespace testing {

namespace {

void register_planted_kernels() {
#define REGISTER(name, Params, threads_max, shared_bytes)                       \
  sim::kernels().push_back(sim::Kernel {                                        \
    {#name, sizeof(Params), threads_max, shared_bytes},                         \
        [](const void* params) { ::name(*static_cast<const Params*>(params)); } \
  });
  GRADUS_PLANTED_KERNELS(REGISTER)
}

/// The error of a launch with the fault, "nan" or "wrong" where only the result shows it, or "right".
std::string outcome(Fault fault, uint64_t seed) {
  constexpr uint32_t kThreads = 128, kBlocks = 3;
  std::vector<float> numbers(kThreads);
  for (uint32_t t = 0; t < kThreads; ++t) numbers[t] = static_cast<float>(t * t);
  const Array<float> from(numbers), to(kBlocks * kThreads);
  const Array<uint32_t> count(std::vector<uint32_t>{0});
  const PlantedParams params{from.device(), to.device(), count.device(), static_cast<uint32_t>(fault), kThreads};
  if (const char* error = try_launch("planted_faults", kBlocks, 1, params, seed)) return error;
  if (count.read()[0] != kBlocks * kThreads) return "wrong count";
  const std::vector<float> result = to.read();
  for (uint32_t i = 0; i < result.size(); ++i) {
    if (std::isnan(result[i])) return "nan";
    if (result[i] != numbers[i % kThreads] + static_cast<float>(i % kThreads)) return "wrong";
  }
  return "right";
}

struct Planted {
  const char* name;
  Fault fault;
  const char* expected;  // part of the outcome
};

constexpr Planted kPlanted[] = {
    {"no fault", Fault::None, "right"},
    {"a removed __syncthreads", Fault::NoBarrier, "race: thread"},
    {"a removed __syncwarp", Fault::NoWarpSync, "race: thread"},
    {"a shuffle in place of __syncwarp", Fault::ShuffleForSync, "race: thread"},
    {"a store one past the end", Fault::StorePastEnd, "out of bounds: thread 127 writes"},
    {"a missing wait for cp.async", Fault::NoCopyWait, "cp.async of thread"},
    {"a missing barrier after cp.async", Fault::NoCopyBarrier, "cp.async of thread|race: thread"},
    {"a cp.async over what others still read", Fault::CopyOverReaders, "race: thread"},
    {"a barrier that some threads miss", Fault::DivergentBarrier, "threads wait for others that never come"},
    {"a collective that some lanes miss", Fault::DivergentCollective, "threads wait for others|lanes of its warp wait"},
    {"shared memory that nobody wrote", Fault::Unwritten, "nan"},
    {"two blocks that write one word", Fault::TwoBlocksOneWord, "a thread of another block wrote"},
    {"a misaligned load", Fault::Misaligned, "misaligned: thread"},
    {"a plain load of what others change atomically", Fault::AtomicBesidePlain, "race: thread|another block"},
    {"a cp.async that nobody waits for", Fault::CopyNeverWaited, "ends while its cp.async is in flight"},
};

bool contains_one_of(const std::string& text, const std::string& parts) {
  size_t begin = 0;
  while (begin <= parts.size()) {
    const size_t end = std::min(parts.find('|', begin), parts.size());
    if (text.find(parts.substr(begin, end - begin)) != std::string::npos) return true;
    begin = end + 1;
  }
  return false;
}

std::vector<float> multiply_once(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b, bool swapped) {
  const Array<uint16_t> left(a), right(b);
  const Array<float> product(128);
  launch("planted_fragment", 1, 1, PlantedMmaParams{left.device(), right.device(), product.device(), swapped, 0}, 1);
  return product.read();
}

void test_fragments() {
  Random random(7);
  std::vector<uint16_t> a(256), b(128);
  for (uint16_t& value : a) value = float_to_bf16(random.next());
  for (uint16_t& value : b) value = float_to_bf16(random.next());
  std::vector<double> expected(128);
  for (int m = 0; m < 16; ++m) {
    for (int n = 0; n < 8; ++n) {
      for (int k = 0; k < 16; ++k)
        expected[m * 8 + n] += double{bf16_to_float(a[m * 16 + k])} * bf16_to_float(b[n * 16 + k]);
    }
  }
  const double right = relative_l2(multiply_once(a, b, false), expected);
  const double swapped = relative_l2(multiply_once(a, b, true), expected);
  report("mma.sync equals f64", right < 1e-6, std::to_string(right));
  report("planted: a swapped fragment index", swapped > 0.1, std::to_string(swapped));
}

/// The product of rows and columns that are all alike: 16 · a · b + c.
float multiply_constant(float a, float b, float c) {
  uint16_t left[16][16], right[16][8];
  float product[16][8];
  for (auto& row : left) std::fill(std::begin(row), std::end(row), float_to_bf16(a));
  for (auto& row : right) std::fill(std::begin(row), std::end(row), float_to_bf16(b));
  for (auto& row : product) std::fill(std::begin(row), std::end(row), c);
  sim::multiply_tile(left, right, product);
  return product[15][7];
}

void test_tensor_core() {
  constexpr float kLargest = 1.9921875f;  // of the bf16 below 2
  report("mma.sync adds its largest terms exactly",
         multiply_constant(kLargest, kLargest, kLargest) == 16 * kLargest * kLargest + kLargest, "sum differs");
  report("mma.sync cuts small terms off",
         multiply_constant(1.0f, 0x1p-20f, 1e10f) == 1e10f && multiply_constant(1.0f, 0x1p-28f, 1.0f) == 1.0f &&
             multiply_constant(1.0f, 0x1p-24f, 1.0f) == 1.0f + 0x1p-20f,
         "sum differs");
  report("mma.sync rounds towards zero",
         multiply_constant(1.0f, -0x1p-28f, 1.0f) == 1.0f && multiply_constant(1.0f, -0x1p-27f, 2.0f) == 2.0f,
         "sum differs");
  report("mma.sync keeps accumulators that nothing is added to",
         multiply_constant(0.0f, 1.0f, 1.2345678e-30f) == 1.2345678e-30f &&
             multiply_constant(0.0f, 3.0f, -7e37f) == -7e37f,
         "value differs");
  report("mma.sync of infinities and NaN",
         std::isinf(multiply_constant(1e30f, 1e30f, 0.0f)) && std::isnan(multiply_constant(kInfinity, 0.0f, 1.0f)) &&
             std::isnan(multiply_constant(1.0f, 1.0f, std::nanf(""))),
         "a number");
}

void test_freed_memory() {
  const Array<float> to(128);
  float* freed;
  {
    const Array<float> from(128);
    freed = from.device();
  }
  const char* error = try_launch("planted_faults", 1, 1, PlantedParams{freed, to.device(), nullptr, 0, 128}, 1);
  report("planted: freed memory", error != nullptr && std::strstr(error, "out of bounds") != nullptr,
         error == nullptr ? "right" : error);
}

void test_refusals() {
  const uint32_t one[3] = {1, 1, 1}, threads[3] = {33, 1, 1};
  PlantedParams params{};
  const char* unknown = gradus_sim_launch("nothing", one, one, 0, &params, sizeof(params), 0);
  report("an unknown kernel is refused", unknown != nullptr, "accepted");
  const char* odd = gradus_sim_launch("planted_faults", one, threads, 0, &params, sizeof(params), 0);
  report("33 threads are refused", odd != nullptr && std::strstr(odd, "multiple of 32") != nullptr, "accepted");
  const char* size = gradus_sim_launch("planted_faults", one, one, 0, &params, 4, 0);
  report("parameters of another size are refused", size != nullptr && std::strstr(size, "expected 32") != nullptr,
         "accepted");
}

}  // namespace

void test_planted_faults() {
  for (const Planted& planted : kPlanted) {
    for (uint64_t seed = 0; seed < 5; ++seed) {
      const std::string found = outcome(planted.fault, seed);
      const std::string name = std::string("planted: ") + planted.name + ", seed " + std::to_string(seed);
      report(name, contains_one_of(found, planted.expected), found);
      if (seed == 0 && found != "right") std::printf("# %s\n", found.c_str());
    }
  }
  test_fragments();
  test_tensor_core();
  test_freed_memory();
  test_refusals();
}

void test_elementary_functions() {
  const auto ulps = [](float found, double expected) {
    const float nearest = std::fabs(static_cast<float>(expected));
    return std::fabs(double{found} - expected) / (double{std::nextafter(nearest, FLT_MAX)} - nearest);
  };
  double worst_exp = 0, worst_log = 0;
  for (uint64_t bits = 0; bits < 1ull << 32; bits += 9973) {
    const float x = sim::float_of(static_cast<uint32_t>(bits));
    if (x >= -87.33654f && x <= 88.37626f) worst_exp = std::max(worst_exp, ulps(exp_f32(x), std::exp(double{x})));
    if (x >= FLT_MIN && x <= FLT_MAX) worst_log = std::max(worst_log, ulps(log_f32(x), std::log(double{x})));
  }
  report("exp is within one ulp", worst_exp <= 1.0, std::to_string(worst_exp));
  report("log is within one ulp", worst_log <= 1.0, std::to_string(worst_log));
  const bool ends = exp_f32(0.0f) == 1.0f && exp_f32(-kInfinity) == 0.0f && exp_f32(-87.4f) == 0.0f &&
                    exp_f32(kInfinity) == kInfinity && std::isnan(exp_f32(std::nanf(""))) && log_f32(1.0f) == 0.0f &&
                    log_f32(0.0f) == -kInfinity && log_f32(kInfinity) == kInfinity && std::isnan(log_f32(-1.0f)) &&
                    sigmoid_f32(0.0f) == 0.5f;
  report("exp and log have exact ends", ends, "an end differs");
}

}  // namespace testing

int main(int count, char** arguments) {
  if (count == 3 && std::strcmp(arguments[1], "probe") == 0) {
    const bool is_gemm = std::strcmp(arguments[2], "gemm") == 0;
    std::printf("%s\n", (is_gemm ? testing::probe_gemm() : testing::probe_adamw()).c_str());
    return 0;
  }
  testing::register_planted_kernels();
  testing::test_elementary_functions();
  testing::test_planted_faults();
  for (uint64_t seed = 0; seed < 3; ++seed) testing::test_gemm(seed);
  testing::test_adamw();
  std::printf("# %d failures\n", testing::failures);
  return testing::failures == 0 ? 0 : 1;
}
