// Tests of AdamW in the simulator: masters of every remainder come back whole. What an update is, Rust checks.
#include "optim/optim.h"

#include "sim/testing.h"

namespace testing {

namespace {

constexpr uint32_t kRemainders = 1 << 16;

/// Every remainder beside an odd and an even weight of both signs, so that ties of both kinds are among them.
struct Masters {
  std::vector<uint16_t> weight;
  std::vector<int16_t> remainder;
  Masters() {
    for (const uint16_t bits : {0x3f81, 0x3f82, 0xbf81, 0xbf82}) {
      for (uint32_t i = 0; i < kRemainders; ++i) {
        weight.push_back(bits);
        remainder.push_back(static_cast<int16_t>(i));
      }
    }
  }
};

}  // namespace

/// Two updates with a rate of 0, which leave each master as it is, at one length that ends within a thread's group.
std::string probe_adamw() {
  const Masters before;
  const uint32_t len = before.weight.size() - 3;
  const Array<float> gradient(std::vector<float>(len, 0.5f));
  const Array<uint16_t> weight(before.weight), m(std::vector<uint16_t>(len, 0)), v(std::vector<uint16_t>(len, 0));
  const Array<int16_t> remainder(before.remainder);
  const auto halves = [](const Array<uint16_t>& memory) { return reinterpret_cast<bf16*>(memory.device()); };
  const AdamWFactors still{1.0f, 1.0f, 0.1f, 0.95f, 0.05f, 1.0f, 1e-8f, 0.0f};
  const AdamWParams params{gradient.device(), halves(weight), remainder.device(), halves(m), halves(v), len, still,
                           1,                 2,              3,                  4};
  for (uint64_t seed = 0; seed < 2; ++seed) {
    if (const char* error = try_launch("adamw", (len + 1023) / 1024, 1, params, seed)) return error;
  }
  const std::vector<uint16_t> weights = weight.read();
  const std::vector<int16_t> remainders = remainder.read();
  for (size_t i = 0; i < before.weight.size(); ++i) {
    const auto master = [i](const std::vector<uint16_t>& upper, const std::vector<int16_t>& lower) {
      return (uint32_t{upper[i]} << 16) + static_cast<uint32_t>(int32_t{lower[i]});
    };
    if (master(weights, remainders) != master(before.weight, before.remainder)) return "differs";
  }
  return "right";
}

void test_adamw() {
  const std::string found = probe_adamw();
  report("masters are weight and remainder exactly", found == "right", found);
}

}  // namespace testing
