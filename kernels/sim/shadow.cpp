// Races and bounds: every access is compared with what the shadow remembers of the bytes.
// Two accesses are ordered if they are one thread's, if a block barrier lies between them, or, within a warp, a
// __syncwarp. Shuffles, votes and mma.sync order nothing (the CUDA manual promises no memory ordering). Blocks are
// never ordered.
#include "sim/machine.h"
#include "sim/memory.h"

namespace sim {

namespace {

constexpr uint64_t kReachShift = 30;
constexpr uint64_t kReachMask = 3ull << kReachShift;
constexpr uint64_t kWarpIntervalMask = ((1ull << 20) - 1) << 10;
constexpr uint64_t kThreadMask = 1023;

inline uint32_t interval_of(uint64_t stamp) { return static_cast<uint32_t>(stamp >> 32); }
inline uint64_t reach_of(uint64_t stamp) { return (stamp & kReachMask) >> kReachShift; }
inline uint32_t thread_of(uint64_t stamp) { return static_cast<uint32_t>(stamp & kThreadMask); }
inline bool same_warp(uint64_t a, uint64_t b) { return ((a ^ b) & kThreadMask & ~31ull) == 0; }
/// Both stamps are of one barrier interval.
inline bool ordered_by_warp(uint64_t before, uint64_t now) {
  return same_warp(before, now) && (before & kWarpIntervalMask) < (now & kWarpIntervalMask);
}

/// Whether `before` may be of another block that runs at the same time.
inline bool is_foreign(uint64_t before, bool is_shared) {
  const uint32_t interval = interval_of(before);
  return !is_shared && interval < machine.block_interval && interval >= machine.launch_interval;
}

const char* verb(Access access) {
  switch (access) {
    case Access::Read: return "reads";
    case Access::Write: return "writes";
    case Access::Atomic: return "changes by an atomic operation";
  }
  return "";
}

[[noreturn]] void fail_race(uint64_t offset, Access access, const char* other, uint64_t before, bool by_block,
                            const void* caller) {
  std::string who = by_block ? "a thread of another block" : "thread " + std::to_string(thread_of(before));
  fail("race: thread " + std::to_string(machine.thread->number) + " " + verb(access) + " " +
           describe_address(reinterpret_cast<uint64_t>(region) + offset) + ", which " + who + " " + other +
           (by_block ? " in the same launch" : " with no barrier between"),
       caller);
}

[[noreturn]] void fail_bounds(uint64_t address, uint64_t bytes, Access access, const void* caller) {
  fail("out of bounds: thread " + std::to_string(machine.thread->number) + " " + verb(access) + " " +
           std::to_string(bytes) + " bytes at " + describe_address(address),
       caller);
}

[[noreturn]] void fail_flight(uint64_t offset, Access access, uint64_t before, const void* caller) {
  fail("thread " + std::to_string(machine.thread->number) + " " + verb(access) + " " +
           describe_address(reinterpret_cast<uint64_t>(region) + offset) + ", where a cp.async of thread " +
           std::to_string(thread_of(before)) + " is in flight: wait for it, then pass a barrier",
       caller);
}

/// Checks an access against the last write. `alone` is false where all lanes of the warp take part.
inline void check_write_before(uint64_t offset, uint64_t before, Access access, bool alone, bool is_shared,
                               const void* caller) {
  if (__builtin_expect(before < kUntouched, 0))
    fail_bounds(reinterpret_cast<uint64_t>(region) + offset, kCellBytes, access, caller);
  if (__builtin_expect(before >= kInFlight, 0)) fail_flight(offset, access, before, caller);
  const bool atomics = access == Access::Atomic && reach_of(before) != kOneThread;
  if (interval_of(before) == machine.interval) {
    const bool mine = alone && thread_of(before) == thread_of(machine.stamp) && reach_of(before) != kAtomics;
    if (!mine && !atomics && !ordered_by_warp(before, machine.stamp))
      fail_race(offset, access, "wrote", before, false, caller);
  } else if (is_foreign(before, is_shared) && !atomics) {
    fail_race(offset, access, "wrote", before, true, caller);
  }
}

/// Checks a write against the reads before.
inline void check_reads_before(uint64_t offset, uint64_t before, Access access, bool is_shared, const void* caller) {
  if (interval_of(before) == machine.interval) {
    const uint64_t reach = reach_of(before);
    if (reach == kBlocks) fail_race(offset, access, "read", before, true, caller);
    const bool mine = reach == kOneThread && thread_of(before) == thread_of(machine.stamp);
    if (!mine && (reach == kWarps || !ordered_by_warp(before, machine.stamp))) {
      fail_race(offset, access, "read", before, false, caller);
    }
  } else if (is_foreign(before, is_shared) ||
             (!is_shared && reach_of(before) == kBlocks && interval_of(before) >= machine.launch_interval)) {
    fail_race(offset, access, "read", before, true, caller);
  }
}

/// The stamp of all reads so far, this one included.
inline uint64_t merged_read(uint64_t before, bool alone, bool is_shared) {
  const uint64_t lanes = uint64_t{alone ? kOneThread : kLanes} << kReachShift;
  const uint64_t now = machine.stamp | lanes;
  const uint32_t interval = interval_of(before);
  if (interval == machine.interval) {
    const uint64_t reach = reach_of(before);
    if (reach == kBlocks || reach == kWarps) return before;
    if (!same_warp(before, now)) return machine.stamp | uint64_t{kWarps} << kReachShift;
    if ((before & kWarpIntervalMask) != (now & kWarpIntervalMask)) return now;
    if (reach == kOneThread && thread_of(before) == thread_of(now)) return now;
    return machine.stamp | uint64_t{kLanes} << kReachShift;
  }
  const bool blocks = !is_shared && interval >= machine.launch_interval &&
                      (interval < machine.block_interval || reach_of(before) == kBlocks);
  return blocks ? machine.stamp | uint64_t{kBlocks} << kReachShift : now;
}

inline uint64_t atomic_stamp(uint64_t before) {
  const bool others = reach_of(before) != kOneThread && interval_of(before) == machine.interval &&
                      (reach_of(before) == kAtomics || thread_of(before) != thread_of(machine.stamp));
  return machine.stamp | uint64_t{others ? kAtomics : kAtomic} << kReachShift;
}

inline void read_cell(Cell* cell, uint64_t offset, bool alone, bool is_shared, const void* caller) {
  // The common case: nothing new since this very thread wrote or read here.
  if (cell->write != machine.stamp || !alone)
    check_write_before(offset, cell->write, Access::Read, alone, is_shared, caller);
  if (cell->read != machine.stamp || !alone) cell->read = merged_read(cell->read, alone, is_shared);
}

inline void write_cell(Cell* cell, uint64_t offset, bool is_shared, const void* caller) {
  if (cell->write != machine.stamp) check_write_before(offset, cell->write, Access::Write, true, is_shared, caller);
  check_reads_before(offset, cell->read, Access::Write, is_shared, caller);
  cell->write = machine.stamp;
}

}  // namespace

void check_access(uint64_t address, uint64_t bytes, Access access, const void* caller) {
  const uint64_t offset = address - reinterpret_cast<uint64_t>(region);
  const bool is_shared = offset < kSharedBytesMax;
  Cell* cell = cell_of(offset);
  for (uint64_t i = 0; i < bytes; i += kCellBytes, ++cell) {
    if (access == Access::Read) {
      read_cell(cell, offset + i, true, is_shared, caller);
    } else if (access == Access::Write) {
      write_cell(cell, offset + i, is_shared, caller);
    } else {
      check_write_before(offset + i, cell->write, access, true, is_shared, caller);
      check_reads_before(offset + i, cell->read, access, is_shared, caller);
      cell->write = atomic_stamp(cell->write);
    }
  }
}

void check_row(uint64_t offset, const void* caller) {
  for (uint64_t i = 0; i < 16; i += kCellBytes) read_cell(cell_of(offset + i), offset + i, false, true, caller);
}

void begin_flight(uint64_t offset, const void* caller) {
  for (uint64_t i = 0; i < 16; i += kCellBytes) {
    Cell* cell = cell_of(offset + i);
    write_cell(cell, offset + i, true, caller);
    cell->write = kInFlight | machine.thread->number;
  }
}

void land(uint64_t offset) {
  for (uint64_t i = 0; i < 16; i += kCellBytes) cell_of(offset + i)->write = machine.stamp;
}

}  // namespace sim
