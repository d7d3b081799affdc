// Philox4x32-10 (Salmon et al. 2011): the same function as crates/ops/src/philox.rs, which says how key and counter are
// used.
#pragma once

#include "common/device.cuh"

struct PhiloxWords {
  uint32_t at[4];
};

__device__ __forceinline__ PhiloxWords philox4x32(PhiloxWords counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53u} * counter.at[0];
    const uint64_t second = uint64_t{0xCD9E8D57u} * counter.at[2];
    counter = PhiloxWords{{static_cast<uint32_t>(second >> 32) ^ counter.at[1] ^ key0, static_cast<uint32_t>(second),
                           static_cast<uint32_t>(first >> 32) ^ counter.at[3] ^ key1, static_cast<uint32_t>(first)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}
