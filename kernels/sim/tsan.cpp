// The functions that g++ -fsanitize=thread calls before every load and store of a kernel. libtsan is not linked.
#include <link.h>

#include <cstdint>

#include "sim/machine.h"
#include "sim/memory.h"

namespace sim {

namespace {

struct Range {
  uint64_t begin, end;
};

/// Where this library itself lies: constant tables of kernels are read from there.
Range own_image() {
  Range range{0, 0};
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* data) {
        const uint64_t here = reinterpret_cast<uint64_t>(&own_image);
        Range found{~0ull, 0};
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto& header = info->dlpi_phdr[i];
          if (header.p_type != PT_LOAD) continue;
          const uint64_t begin = info->dlpi_addr + header.p_vaddr;
          if (begin < found.begin) found.begin = begin;
          if (begin + header.p_memsz > found.end) found.end = begin + header.p_memsz;
        }
        if (here < found.begin || here >= found.end) return 0;
        *static_cast<Range*>(data) = found;
        return 1;
      },
      &range);
  return range;
}

void check_elsewhere(uint64_t address, uint64_t bytes, Access access, const void* caller) {
  static const Range image = own_image();
  const bool is_constant = address >= image.begin && address + bytes <= image.end;
  if (is_constant && access == Access::Read) return;
  fail("out of bounds: thread " + std::to_string(machine.thread->number) +
           (access == Access::Read ? " reads " : " writes ") + std::to_string(bytes) + " bytes at " +
           describe_address(address),
       caller);
}

inline void check(const void* pointer, uint64_t bytes, Access access, const void* caller) {
  const uint64_t address = reinterpret_cast<uint64_t>(pointer);
  if (address - machine.stacks < machine.stacks_bytes) return;  // the thread's own variables
  // Initialisers of the library run before any kernel does.
  if (machine.thread == nullptr) return;
  if (!is_in_region(address)) return check_elsewhere(address, bytes, access, caller);
  if (bytes <= 16 && (address & (bytes - 1)) != 0) {
    fail("misaligned: thread " + std::to_string(machine.thread->number) + " touches " + std::to_string(bytes) +
             " bytes at " + describe_address(address),
         caller);
  }
  if (bytes < kCellBytes) fail("elements of one byte are not supported in device memory: use two or more", caller);
  check_access(address, bytes, access, caller);
}

}  // namespace

}  // namespace sim

#define CALLER __builtin_return_address(0)
#define CHECKS(bytes)                                                                                           \
  extern "C" void __tsan_read##bytes(void* at) { sim::check(at, bytes, sim::Access::Read, CALLER); }            \
  extern "C" void __tsan_write##bytes(void* at) { sim::check(at, bytes, sim::Access::Write, CALLER); }          \
  extern "C" void __tsan_volatile_read##bytes(void* at) { sim::check(at, bytes, sim::Access::Read, CALLER); }   \
  extern "C" void __tsan_volatile_write##bytes(void* at) { sim::check(at, bytes, sim::Access::Write, CALLER); } \
  extern "C" void __tsan_unaligned_read##bytes(void* at) { sim::check(at, bytes, sim::Access::Read, CALLER); }  \
  extern "C" void __tsan_unaligned_write##bytes(void* at) { sim::check(at, bytes, sim::Access::Write, CALLER); }

CHECKS(1)
CHECKS(2)
CHECKS(4)
CHECKS(8)
CHECKS(16)

extern "C" void __tsan_read_range(void* at, unsigned long bytes) { sim::check(at, bytes, sim::Access::Read, CALLER); }
extern "C" void __tsan_write_range(void* at, unsigned long bytes) { sim::check(at, bytes, sim::Access::Write, CALLER); }
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
