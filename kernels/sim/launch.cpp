// The C interface: one lock, the table of kernels, and what a driver checks before a launch.
#include "sim/sim.h"

#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "sim/machine.h"
#include "sim/memory.h"
#include "sim/table.h"

namespace {

std::mutex lock;
thread_local std::string last_error;

const char* report(std::string text) {
  last_error = std::move(text);
  return last_error.empty() ? nullptr : last_error.c_str();
}

/// The text of a function of memory.h, kept for the caller's thread.
const char* report(const char* text) { return text == nullptr ? nullptr : report(std::string(text)); }

const sim::Kernel* find_kernel(const char* name) {
  for (const sim::Kernel& kernel : sim::kernels()) {
    if (std::strcmp(kernel.info.name, name) == 0) return &kernel;
  }
  return nullptr;
}

std::string check_launch(const sim::Kernel& kernel, const uint32_t grid[3], const uint32_t block[3],
                         uint32_t shared_bytes, uint32_t params_bytes) {
  const std::string name = std::string("kernel ") + kernel.info.name + ": ";
  const uint64_t threads = uint64_t{block[0]} * block[1] * block[2];
  if (params_bytes != kernel.info.params_bytes) {
    return name + "parameters have " + std::to_string(params_bytes) + " bytes, expected " +
           std::to_string(kernel.info.params_bytes);
  }
  if (threads == 0 || threads % sim::kLanes32 != 0) return name + "a block must have a multiple of 32 threads";
  if (threads > kernel.info.threads_max || threads > sim::kThreadsMax) {
    return name + std::to_string(threads) + " threads in a block, at most " + std::to_string(kernel.info.threads_max) +
           " are allowed";
  }
  if (shared_bytes > kernel.info.shared_bytes) {
    return name + std::to_string(shared_bytes) + " bytes of shared memory, its table row allows " +
           std::to_string(kernel.info.shared_bytes);
  }
  if (grid[0] == 0 || grid[1] == 0 || grid[2] == 0 || grid[0] > 0x7fffffffu || grid[1] > 65535 || grid[2] > 65535) {
    return name + "the grid must be 1 to 2147483647 by 1 to 65535 by 1 to 65535 blocks";
  }
  return "";
}

}  // namespace

uint32_t gradus_sim_version() { return 1; }

const char* gradus_sim_alloc(uint64_t bytes, uint64_t* address) {
  const std::lock_guard guard(lock);
  if (const char* error = sim::reserve_region()) return report(error);
  return report(sim::allocate(bytes, address));
}

const char* gradus_sim_free(uint64_t address) {
  const std::lock_guard guard(lock);
  return report(sim::release(address));
}

uint64_t gradus_sim_live_bytes() {
  const std::lock_guard guard(lock);
  return sim::live_bytes();
}

const char* gradus_sim_copy_to_device(uint64_t to, const void* from, uint64_t bytes) {
  const std::lock_guard guard(lock);
  if (const char* error = sim::check_range("a copy to the device", to, bytes)) return report(error);
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return nullptr;
}

const char* gradus_sim_copy_to_host(void* to, uint64_t from, uint64_t bytes) {
  const std::lock_guard guard(lock);
  if (const char* error = sim::check_range("a copy to the host", from, bytes)) return report(error);
  std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
  return nullptr;
}

const char* gradus_sim_copy_on_device(uint64_t to, uint64_t from, uint64_t bytes) {
  const std::lock_guard guard(lock);
  if (const char* error = sim::check_range("the source of a copy", from, bytes)) return report(error);
  if (const char* error = sim::check_range("the target of a copy", to, bytes)) return report(error);
  std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
  return nullptr;
}

const char* gradus_sim_fill(uint64_t to, uint8_t value, uint64_t bytes) {
  const std::lock_guard guard(lock);
  if (const char* error = sim::check_range("a fill", to, bytes)) return report(error);
  std::memset(reinterpret_cast<void*>(to), value, bytes);
  return nullptr;
}

uint32_t gradus_sim_kernels() { return static_cast<uint32_t>(sim::kernels().size()); }

const GradusSimKernel* gradus_sim_kernel(uint32_t index) {
  return index < sim::kernels().size() ? &sim::kernels()[index].info : nullptr;
}

const char* gradus_sim_launch(const char* name, const uint32_t grid[3], const uint32_t block[3], uint32_t shared_bytes,
                              const void* params, uint32_t params_bytes, uint64_t seed) {
  const std::lock_guard guard(lock);
  const sim::Kernel* kernel = find_kernel(name);
  if (kernel == nullptr) return report(std::string("no kernel is called ") + name);
  if (const char* error = sim::reserve_region()) return report(error);
  std::string refusal = check_launch(*kernel, grid, block, shared_bytes, params_bytes);
  if (!refusal.empty()) return report(std::move(refusal));
  // The kernel's own copy, as the driver makes one.
  const std::vector<unsigned char> own(static_cast<const unsigned char*>(params),
                                       static_cast<const unsigned char*>(params) + params_bytes);
  const uint32_t threads = block[0] * block[1] * block[2];
  sim::machine.launch = sim::Launch{kernel->info.name,
                                    kernel->entry,
                                    own.data(),
                                    sim::Index{grid[0], grid[1], grid[2]},
                                    sim::Index{block[0], block[1], block[2]},
                                    threads,
                                    threads / sim::kLanes32,
                                    shared_bytes};
  return report(sim::run_launch(seed));
}
