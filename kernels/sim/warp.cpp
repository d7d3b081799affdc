// What lanes of a warp do together (shuffles, votes, ldmatrix, mma.sync), and asynchronous copies and atomics.
#include <algorithm>
#include <cstring>

#include "sim/machine.h"
#include "sim/memory.h"

namespace sim {

namespace {

#define CALLER __builtin_return_address(0)

void check_mask(uint32_t mask, const void* caller) {
  if (mask != 0xffffffffu) fail("collectives take the full mask", caller);
}

struct ShuffleLane {
  Shuffle how;
  uint32_t operand;
  uint64_t value, result;
};

uint32_t source_lane(const ShuffleLane& call, uint32_t lane) {
  switch (call.how) {
    case Shuffle::Index: return call.operand % kLanes32;
    case Shuffle::Xor: return (lane ^ call.operand) < kLanes32 ? lane ^ call.operand : lane;
    case Shuffle::Up: return call.operand > lane ? lane : lane - call.operand;
    case Shuffle::Down: return lane + call.operand < kLanes32 ? lane + call.operand : lane;
  }
  return lane;
}

template <class T>
T& arguments_of(uint32_t lane) {
  return *static_cast<T*>(lane_thread(lane).arguments);
}

struct MmaLane {
  float* d;
  const uint32_t* a;
  const uint32_t* b;
};

void put_pair(uint16_t* to, uint32_t bits, uint32_t stride) {
  to[0] = static_cast<uint16_t>(bits);
  to[stride] = static_cast<uint16_t>(bits >> 16);
}

void multiply_fragments() {
  uint16_t a[16][16];
  uint16_t b[16][8];
  float d[16][8];
  for (uint32_t lane = 0; lane < kLanes32; ++lane) {
    const MmaLane& call = arguments_of<MmaLane>(lane);
    const uint32_t group = lane / 4, pair = lane % 4 * 2;
    put_pair(&a[group][pair], call.a[0], 1);
    put_pair(&a[group + 8][pair], call.a[1], 1);
    put_pair(&a[group][pair + 8], call.a[2], 1);
    put_pair(&a[group + 8][pair + 8], call.a[3], 1);
    put_pair(&b[pair][group], call.b[0], 8);
    put_pair(&b[pair + 8][group], call.b[1], 8);
    std::memcpy(&d[group][pair], call.d, 8);
    std::memcpy(&d[group + 8][pair], call.d + 2, 8);
  }
  multiply_tile(a, b, d);
  for (uint32_t lane = 0; lane < kLanes32; ++lane) {
    const MmaLane& call = arguments_of<MmaLane>(lane);
    const uint32_t group = lane / 4, pair = lane % 4 * 2;
    std::memcpy(call.d, &d[group][pair], 8);
    std::memcpy(call.d + 2, &d[group + 8][pair], 8);
  }
}

struct MatrixLane {
  uint32_t* registers;
  uint32_t matrices;
  bool transposed;
  uint32_t row;
};

void load_matrices(const void* caller) {
  const MatrixLane& first = arguments_of<MatrixLane>(0);
  for (uint32_t j = 0; j < first.matrices; ++j) {
    uint16_t matrix[8][8];
    for (uint32_t r = 0; r < 8; ++r) {
      const MatrixLane& call = arguments_of<MatrixLane>(8 * j + r);
      if (call.matrices != first.matrices || call.transposed != first.transposed) {
        fail("lanes of a warp are in different ldmatrix instructions", caller);
      }
      if (call.row % 16 != 0) fail("ldmatrix of an address that is no multiple of 16", caller);
      if (call.row >= kSharedBytesMax) fail("out of bounds: ldmatrix outside shared memory", caller);
      check_row(call.row, caller);
      std::memcpy(matrix[r], region + call.row, 16);
    }
    for (uint32_t lane = 0; lane < kLanes32; ++lane) {
      const uint32_t group = lane / 4, pair = lane % 4 * 2;
      const uint32_t low = first.transposed ? matrix[pair][group] : matrix[group][pair];
      const uint32_t high = first.transposed ? matrix[pair + 1][group] : matrix[group][pair + 1];
      arguments_of<MatrixLane>(lane).registers[j] = high << 16 | low;
    }
  }
}

void finish_copy(const PendingCopy& copy) {
  land(copy.to);
  std::memcpy(region + copy.to, copy.from, copy.bytes);
  std::memset(region + copy.to + copy.bytes, 0, 16 - copy.bytes);
}

void check_atomic(const void* at, uint64_t bytes, const void* caller) {
  const uint64_t address = reinterpret_cast<uint64_t>(at);
  if (!is_in_region(address) || address % bytes != 0) {
    fail("an atomic operation at " + describe_address(address) + " is misaligned or not in device memory", caller);
  }
  check_access(address, bytes, Access::Atomic, caller);
}

template <class T>
T apply(Atomic what, T* at, T value) {
  const T before = *at;
  switch (what) {
    case Atomic::Add: *at = before + value; break;
    case Atomic::Max: *at = std::max(before, value); break;
    case Atomic::Min: *at = std::min(before, value); break;
    case Atomic::Or: *at = before | value; break;
    case Atomic::And: *at = before & value; break;
    case Atomic::Exchange: *at = value; break;
  }
  return before;
}

}  // namespace

uint64_t shuffle(uint32_t mask, Shuffle how, uint64_t value, uint32_t operand) {
  check_mask(mask, CALLER);
  ShuffleLane call{how, operand, value, 0};
  if (meet(Meeting::Shuffle, &call, CALLER)) {
    for (uint32_t lane = 0; lane < kLanes32; ++lane) {
      ShuffleLane& of_lane = arguments_of<ShuffleLane>(lane);
      if (of_lane.how != how) fail("lanes of a warp are in different shuffles", CALLER);
      of_lane.result = arguments_of<ShuffleLane>(source_lane(of_lane, lane)).value;
    }
    end_meeting();
  }
  return call.result;
}

uint32_t ballot(uint32_t mask, bool predicate) {
  check_mask(mask, CALLER);
  struct Vote {
    bool predicate;
    uint32_t result;
  } call{predicate, 0};
  if (meet(Meeting::Ballot, &call, CALLER)) {
    uint32_t votes = 0;
    for (uint32_t lane = 0; lane < kLanes32; ++lane) votes |= uint32_t{arguments_of<Vote>(lane).predicate} << lane;
    for (uint32_t lane = 0; lane < kLanes32; ++lane) arguments_of<Vote>(lane).result = votes;
    end_meeting();
  }
  return call.result;
}

void mma_bf16(float* d, const uint32_t* a, const uint32_t* b) {
  MmaLane call{d, a, b};
  if (!meet(Meeting::Mma, &call, CALLER)) return;
  multiply_fragments();
  end_meeting();
}

void ldmatrix(uint32_t* registers, uint32_t matrices, bool transposed, uint32_t row) {
  MatrixLane call{registers, matrices, transposed, row};
  if (!meet(Meeting::LdMatrix, &call, CALLER)) return;
  load_matrices(CALLER);
  end_meeting();
}

uint32_t shared_address(const void* pointer) {
  const uint64_t offset = region_offset(pointer);
  if (offset > kSharedBytesMax) fail("shared_address of a pointer that is not in shared memory", CALLER);
  return static_cast<uint32_t>(offset);
}

void cp_async_16(uint32_t to, const void* from, uint32_t bytes) {
  const uint64_t address = reinterpret_cast<uint64_t>(from);
  if (to % 16 != 0 || address % 16 != 0 || bytes > 16) {
    fail("cp.async of " + std::to_string(bytes) + " bytes: both addresses must be multiples of 16, the size at most 16",
         CALLER);
  }
  if (to >= kSharedBytesMax) fail("out of bounds: cp.async to an address outside shared memory", CALLER);
  if (bytes > 0) {
    if (!is_in_region(address)) fail("out of bounds: cp.async from " + describe_address(address), CALLER);
    // A copy of an odd size reads whole cells: memory ends on one.
    check_access(address, bytes, Access::Read, CALLER);
  }
  begin_flight(to, CALLER);
  Thread& thread = *machine.thread;
  thread.copies.push_back(PendingCopy{to, static_cast<const unsigned char*>(from), bytes, thread.groups});
}

void cp_async_commit() { ++machine.thread->groups; }

void cp_async_wait(uint32_t groups) {
  Thread& thread = *machine.thread;
  // Copies are in order of issue: the first ones belong to the oldest groups. Nothing lands before it must.
  size_t landed = 0;
  while (landed < thread.copies.size() && thread.copies[landed].group + groups < thread.groups) {
    finish_copy(thread.copies[landed++]);
  }
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<std::ptrdiff_t>(landed));
}

uint32_t atomic_u32(Atomic what, uint32_t* at, uint32_t value) {
  check_atomic(at, 4, CALLER);
  return apply(what, at, value);
}
uint64_t atomic_u64(Atomic what, uint64_t* at, uint64_t value) {
  check_atomic(at, 8, CALLER);
  return apply(what, at, value);
}
uint32_t atomic_compare_exchange(uint32_t* at, uint32_t expected, uint32_t value) {
  check_atomic(at, 4, CALLER);
  const uint32_t before = *at;
  if (before == expected) *at = value;
  return before;
}
float atomic_add_f32(float* at, float value) {
  check_atomic(at, 4, CALLER);
  const float before = *at;
  *at = before + value;
  return before;
}

}  // namespace sim
