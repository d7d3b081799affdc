// A small kernel for each kind of fault that the simulator must catch; only tests.cpp has it.
#pragma once

#include <cstdint>

enum class Fault : uint32_t {
  None,
  NoBarrier,
  NoWarpSync,
  ShuffleForSync,
  StorePastEnd,
  NoCopyWait,
  NoCopyBarrier,
  CopyOverReaders,
  DivergentBarrier,
  DivergentCollective,
  Unwritten,
  TwoBlocksOneWord,
  Misaligned,
  CopyNeverWaited,
  AtomicBesidePlain,
};

struct PlantedParams {
  const float* from;  // [threads]
  float* to;          // [blocks, threads]
  uint32_t* count;    // of all threads
  uint32_t fault, threads;
};

/// Swaps two registers of the left fragment where `swapped` is not 0.
struct PlantedMmaParams {
  const uint16_t* a;  // [16, 16] bf16
  const uint16_t* b;  // [8, 16] bf16, rows are columns of the product
  float* d;           // [16, 8]
  uint32_t swapped, unused;
};

#define GRADUS_PLANTED_KERNELS(X)             \
  X(planted_faults, PlantedParams, 128, 4096) \
  X(planted_fragment, PlantedMmaParams, 32, 1024)
