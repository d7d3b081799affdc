// Threads of a block as fibers on one system thread: stacks, switches, the shuffled order, barriers and meetings of
// warps.
#include "sim/machine.h"

#include <dlfcn.h>
#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "sim/memory.h"

// Saves the callee's registers of the System V ABI on the stack that is left and takes them from the one that is
// entered.
asm(R"(
.text
.globl gradus_sim_switch
.hidden gradus_sim_switch
.type gradus_sim_switch, @function
gradus_sim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gradus_sim_switch, .-gradus_sim_switch
)");
extern "C" void gradus_sim_switch(void** from, void* to);

namespace sim {

Machine machine{};

namespace {

constexpr uint64_t kStackBytes = 256 * 1024;
constexpr uint64_t kGuardBytes = 4096;

void* host_stack_pointer;
std::string error;

uint32_t random_number() {  // xorshift64*
  uint64_t x = machine.random;
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  machine.random = x;
  return static_cast<uint32_t>((x * 0x2545f4914f6cdd1dull) >> 32);
}

/// A bit of `mask`, which is not 0: the first one from a random place on.
uint32_t random_bit(uint32_t mask) {
  const uint32_t start = random_number() % 32;
  const uint32_t rotated = start == 0 ? mask : mask >> start | mask << (32 - start);
  return (static_cast<uint32_t>(__builtin_ctz(rotated)) + start) % 32;
}

void restamp() {
  const Thread* thread = machine.thread;
  machine.stamp = uint64_t{machine.interval} << 32 | uint64_t{current_warp().interval} << 10 | thread->number;
}

const char* name_of(Meeting meeting) {
  switch (meeting) {
    case Meeting::SyncWarp: return "__syncwarp";
    case Meeting::Shuffle: return "a shuffle";
    case Meeting::Ballot: return "a vote";
    case Meeting::Mma: return "mma.sync";
    case Meeting::LdMatrix: return "ldmatrix";
    case Meeting::None: break;
  }
  return "nothing";
}

std::string describe_deadlock() {
  std::string text = "threads wait for others that never come:";
  uint32_t described = 0;
  for (uint32_t w = 0; w < machine.launch.warps && described < 4; ++w) {
    uint32_t lanes[4] = {};
    for (uint32_t lane = 0; lane < kLanes32; ++lane) {
      ++lanes[static_cast<uint32_t>(machine.threads[w * kLanes32 + lane].status)];
    }
    const uint32_t barrier = lanes[static_cast<uint32_t>(Status::AtBarrier)];
    const uint32_t meeting = lanes[static_cast<uint32_t>(Status::InMeeting)];
    const uint32_t done = lanes[static_cast<uint32_t>(Status::Done)];
    if (barrier == kLanes32) continue;
    text += (described++ == 0 ? " warp " : "; warp ") + std::to_string(w) + " has";
    if (barrier > 0) text += " " + std::to_string(barrier) + " lanes at __syncthreads,";
    if (meeting > 0) text += " " + std::to_string(meeting) + " in " + name_of(machine.warp[w].meeting) + ",";
    if (done > 0) text += " " + std::to_string(done) + " that ended,";
    text.pop_back();
  }
  return text;
}

Thread* next_thread() {
  if (machine.ready_warps == 0) {
    if (machine.done == machine.launch.threads) return nullptr;
    fail(describe_deadlock(), nullptr);
  }
  // Mostly the lanes of one warp one after another; now and then another warp comes in between.
  uint32_t w = machine.thread == nullptr ? 0 : machine.thread->number / kLanes32;
  if ((machine.ready_warps >> w & 1) == 0 || random_number() % 16 == 0) w = random_bit(machine.ready_warps);
  const uint32_t lane = random_bit(machine.warp[w].ready);
  return &machine.threads[w * kLanes32 + lane];
}

void set_waiting(Status status) {
  Warp& warp = current_warp();
  machine.thread->status = status;
  warp.ready &= ~(1u << current_lane());
  if (warp.ready == 0) machine.ready_warps &= ~(1u << (machine.thread->number / kLanes32));
}

void set_warp_ready(uint32_t w) {
  machine.warp[w].ready = 0xffffffffu;
  machine.ready_warps |= 1u << w;
  for (uint32_t lane = 0; lane < kLanes32; ++lane) machine.threads[w * kLanes32 + lane].status = Status::Ready;
}

void leave(void** save) {
  Thread* next = next_thread();
  machine.thread = next;
  if (next != nullptr) restamp();
  gradus_sim_switch(save, next == nullptr ? host_stack_pointer : next->stack_pointer);
}

[[noreturn]] void thread_main() {
  machine.launch.entry(machine.launch.params);
  if (!machine.thread->copies.empty())
    fail("the thread ends while its cp.async is in flight: wait for every group", nullptr);
  set_waiting(Status::Done);
  ++machine.done;
  void* unused;
  leave(&unused);
  __builtin_unreachable();
}

void prepare_stack(Thread& thread) {
  // Staggered by an odd number of cache lines: stacks that began alike would meet in the same sets of every cache.
  const uint64_t top = machine.stacks + (thread.number + 1) * kStackBytes - thread.number % 64 * 17 * 64;
  void** at = reinterpret_cast<void**>(top) - 1;  // as after a call: 8 modulo 16
  *at = nullptr;
  *--at = reinterpret_cast<void*>(&thread_main);
  for (int i = 0; i < 6; ++i) *--at = nullptr;  // the six saved registers
  thread.stack_pointer = at;
}

bool reserve_stacks() {
  if (machine.stacks != 0) return true;
  machine.stacks_bytes = kThreadsMax * kStackBytes;
  void* memory =
      mmap(nullptr, machine.stacks_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return false;
  machine.stacks = reinterpret_cast<uint64_t>(memory);
  for (uint32_t i = 0; i < kThreadsMax; ++i)
    mprotect(static_cast<char*>(memory) + i * kStackBytes, kGuardBytes, PROT_NONE);
  return true;
}

void prepare_block(Index block) {
  const Launch& launch = machine.launch;
  machine.block_index = block;
  machine.block_interval = ++machine.interval;
  machine.at_barrier = machine.done = 0;
  machine.ready_warps = launch.warps == 32 ? 0xffffffffu : (1u << launch.warps) - 1;
  open_shared_memory(launch.shared_bytes);
  for (uint32_t w = 0; w < launch.warps; ++w) machine.warp[w] = Warp{0xffffffffu, 0, 0, Meeting::None};
  for (uint32_t i = 0; i < launch.threads; ++i) {
    Thread& thread = machine.threads[i];
    thread.number = i;
    thread.index =
        Index{i % launch.block.x, i / launch.block.x % launch.block.y, i / (launch.block.x * launch.block.y)};
    thread.status = Status::Ready;
    thread.copies.clear();
    thread.groups = 0;
    prepare_stack(thread);
  }
}

/// File and line of an address in the kernels' code, by addr2line where it is installed. Of inlined functions it is the
/// innermost that a kernel's author wrote.
std::string source_of(const void* caller) {
  Dl_info info;
  if (caller == nullptr || dladdr(caller, &info) == 0 || info.dli_fname == nullptr) return "";
  const uint64_t offset = static_cast<const char*>(caller) - static_cast<const char*>(info.dli_fbase) - 1;
  char command[1024];
  const int length = snprintf(command, sizeof command, "addr2line -i -e '%s' 0x%llx 2>/dev/null", info.dli_fname,
                              static_cast<unsigned long long>(offset));
  if (length < 0 || length >= static_cast<int>(sizeof command)) return "";
  FILE* pipe = popen(command, "r");
  if (pipe == nullptr) return "";
  std::string place;
  char line[1024];
  while (fgets(line, sizeof line, pipe) != nullptr) {
    std::string text = line;
    text = text.substr(0, text.find_first_of(" \n"));
    const size_t folder = text.rfind("kernels/");
    if (folder == std::string::npos) continue;
    place = text.substr(folder);
    if (place.rfind("kernels/sim/device.h", 0) != 0 && place.rfind("kernels/common/", 0) != 0) break;
  }
  pclose(pipe);
  return place.empty() ? "" : " (" + place + ")";
}

}  // namespace

Index thread_index() { return machine.thread->index; }
Index block_index() { return machine.block_index; }
Index block_size() { return machine.launch.block; }
Index grid_size() { return machine.launch.grid; }
unsigned char* shared_memory() { return region; }

void fail(const std::string& text, const void* caller) {
  const Index block = machine.block_index;
  error = std::string("kernel ") + machine.launch.kernel + ", block (" + std::to_string(block.x) + ", " +
          std::to_string(block.y) + ", " + std::to_string(block.z) + "): " + text + source_of(caller);
  void* unused;
  gradus_sim_switch(&unused, host_stack_pointer);
  __builtin_unreachable();
}

void sync_threads() {
  machine.thread->status = Status::AtBarrier;
  if (++machine.at_barrier < machine.launch.threads) {
    set_waiting(Status::AtBarrier);
    leave(&machine.thread->stack_pointer);
    return;
  }
  machine.at_barrier = 0;
  if (++machine.interval == 0xffffffffu) fail("the simulator has counted 2^32 barriers: start a new process", nullptr);
  for (uint32_t w = 0; w < machine.launch.warps; ++w) {
    machine.warp[w].interval = 0;
    set_warp_ready(w);
  }
  restamp();
}

bool meet(Meeting meeting, void* arguments, const void* caller) {
  Warp& warp = current_warp();
  if (warp.arrived == 0) warp.meeting = meeting;
  if (warp.meeting != meeting) {
    fail(std::string("thread ") + std::to_string(machine.thread->number) + " is in " + name_of(meeting) +
             " while lanes of its warp wait in " + name_of(warp.meeting),
         caller);
  }
  machine.thread->arguments = arguments;
  if (++warp.arrived == kLanes32) return true;
  set_waiting(Status::InMeeting);
  leave(&machine.thread->stack_pointer);
  return false;
}

void end_meeting() {
  current_warp().arrived = 0;
  set_warp_ready(machine.thread->number / kLanes32);
}

void sync_warp(uint32_t mask) {
  const void* caller = __builtin_return_address(0);
  if (mask != 0xffffffffu) fail("__syncwarp takes the full mask", caller);
  if (!meet(Meeting::SyncWarp, nullptr, caller)) return;
  Warp& warp = current_warp();
  if (++warp.interval == 1u << 20)
    fail("2^20 times __syncwarp without a block barrier: the simulator counts no further", caller);
  end_meeting();
  restamp();
}

std::string run_launch(uint64_t seed) {
  if (!reserve_stacks()) return "the simulator cannot reserve the stacks of 1024 threads";
  const Index grid = machine.launch.grid;
  std::vector<uint32_t> order(uint64_t{grid.x} * grid.y * grid.z);
  std::iota(order.begin(), order.end(), 0u);
  machine.random = (seed + 1) * 0x9e3779b97f4a7c15ull | 1;
  for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random_number() % i]);
  if (machine.interval < kFirstInterval) machine.interval = kFirstInterval;
  machine.launch_interval = machine.interval + 1;
  error.clear();
  // Kernels compute in the default mode, whatever the caller's thread has set.
  const unsigned int mode = _mm_getcsr();
  _mm_setcsr(0x1f80);
  for (const uint32_t i : order) {
    prepare_block(Index{i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)});
    machine.thread = nullptr;
    leave(&host_stack_pointer);
    if (!error.empty()) {
      close_shared_memory();
      break;
    }
  }
  _mm_setcsr(mode);
  machine.thread = nullptr;
  ++machine.interval;
  return error;
}

}  // namespace sim
