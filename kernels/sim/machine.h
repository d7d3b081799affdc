// The running launch: its blocks, warps and threads (fibers), and the rendezvous of warps and blocks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sim/device.h"

namespace sim {

constexpr uint32_t kLanes32 = 32;
constexpr uint32_t kThreadsMax = 1024;
/// Groups of a thread's asynchronous copies are numbered from 0; this one is not committed yet.
struct PendingCopy {
  uint64_t to;  // offset in the region
  const unsigned char* from;
  uint32_t bytes;
  uint32_t group;
};

/// What a warp's lanes meet in. Every lane brings a pointer to its arguments and results.
enum class Meeting : uint8_t { None, SyncWarp, Shuffle, Ballot, Mma, LdMatrix };
enum class Status : uint8_t { Ready, AtBarrier, InMeeting, Done };

struct Thread {
  void* stack_pointer;
  Index index;
  uint32_t number;  // in its block
  Status status;
  void* arguments;  // of the meeting it waits in
  std::vector<PendingCopy> copies;
  uint32_t groups;  // committed
};

struct Warp {
  uint32_t ready;     // a bit per lane
  uint32_t arrived;   // lanes in the meeting
  uint32_t interval;  // counts __syncwarp within a barrier interval
  Meeting meeting;
};

struct Launch {
  const char* kernel;
  void (*entry)(const void* params);
  const void* params;
  Index grid, block;
  uint32_t threads, warps;
  uint32_t shared_bytes;
};

struct Machine {
  Thread* thread;  // the one that runs
  uint64_t stamp;  // of its next access: barrier interval, warp interval, thread
  Launch launch;
  Index block_index;
  uint32_t interval;        // barrier interval
  uint32_t block_interval;  // the first one of this block
  uint32_t launch_interval;
  uint32_t at_barrier, done;
  uint32_t ready_warps;  // a bit per warp with a ready lane
  uint64_t random;
  Warp warp[kThreadsMax / kLanes32];
  Thread threads[kThreadsMax];
  uint64_t stacks, stacks_bytes;  // local memory of all threads
};

extern Machine machine;

inline Warp& current_warp() { return machine.warp[machine.thread->number / kLanes32]; }
inline uint32_t current_lane() { return machine.thread->number % kLanes32; }
inline Thread& lane_thread(uint32_t lane) {
  return machine.threads[machine.thread->number / kLanes32 * kLanes32 + lane];
}

/// Runs every block of `machine.launch`; the error, or an empty text.
std::string run_launch(uint64_t seed);
/// Ends the launch from within a thread. `caller` is an address in the kernel's code, or null.
[[noreturn]] void fail(const std::string& text, const void* caller);
/// Waits until every lane of the warp is here with its arguments. True for the last one: it acts for all and then calls
/// `end_meeting`; false once that is done.
bool meet(Meeting meeting, void* arguments, const void* caller);
void end_meeting();

/// Checks of one access by the running thread (shadow.cpp); `caller` as in `fail`.
enum class Access : uint8_t { Read, Write, Atomic };
void check_access(uint64_t address, uint64_t bytes, Access access, const void* caller);
/// Checks the 16 bytes that ldmatrix reads for all lanes of the warp.
void check_row(uint64_t offset, const void* caller);
/// An asynchronous copy of 16 bytes: from `begin_flight` to `land` nobody may touch them.
void begin_flight(uint64_t offset, const void* caller);
void land(uint64_t offset);

/// d[16][8] = a[16][16] · b[16][8] + d, as the tensor cores of Hopper are modelled (tensor_core.cpp).
void multiply_tile(const uint16_t (&a)[16][16], const uint16_t (&b)[16][8], float (&d)[16][8]);

}  // namespace sim
