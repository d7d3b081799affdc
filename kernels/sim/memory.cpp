// Allocations of the simulated device memory, and their shadow.
#include "sim/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <map>
#include <vector>

namespace sim {

unsigned char* region = nullptr;
Cell* shadow = nullptr;

namespace {

constexpr uint64_t kAlignment = 256;
/// Nothing lies in this many bytes after an allocation: an index a little too large meets no neighbour.
constexpr uint64_t kGap = 4096;

struct Allocation {
  uint64_t bytes;     // as asked for
  uint64_t reserved;  // with its gap
};

std::map<uint64_t, Allocation> allocations;              // by offset
std::map<uint64_t, std::vector<uint64_t>> free_offsets;  // by reserved bytes
uint64_t next_offset = kSharedBytesMax + kGap;
uint64_t total_bytes = 0;
uint64_t shared_bytes = 0;

uint64_t rounded_up(uint64_t value, uint64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

void mark(uint64_t offset, uint64_t bytes, uint64_t write) {
  Cell* cell = cell_of(offset);
  Cell* end = cell + rounded_up(bytes, kCellBytes) / kCellBytes;
  for (; cell < end; ++cell) *cell = Cell{write, write};
}

/// Pages go back to the system: fresh ones are zero, which in the shadow means no memory.
void discard(uint64_t offset, uint64_t bytes) {
  mark(offset, bytes, kNoMemory);
  constexpr uint64_t kPage = 4096;
  const uint64_t begin = rounded_up(offset, kPage);
  const uint64_t end = (offset + bytes) / kPage * kPage;
  if (end <= begin) return;
  madvise(region + begin, end - begin, MADV_DONTNEED);
  const uint64_t scale = sizeof(Cell) / kCellBytes;
  madvise(reinterpret_cast<unsigned char*>(shadow) + begin * scale, (end - begin) * scale, MADV_DONTNEED);
}

std::map<uint64_t, Allocation>::iterator allocation_before(uint64_t offset) {
  auto after = allocations.upper_bound(offset);
  return after == allocations.begin() ? allocations.end() : std::prev(after);
}

thread_local std::string message;
const char* refuse(std::string text) {
  message = std::move(text);
  return message.c_str();
}

}  // namespace

const char* reserve_region() {
  if (region != nullptr) return nullptr;
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
    return "the simulator needs a processor with AVX2 and FMA";
  }
  constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  constexpr uint64_t kShadowBytes = kRegionBytes / kCellBytes * sizeof(Cell);
  void* memory = mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  void* cells = mmap(nullptr, kShadowBytes, PROT_READ | PROT_WRITE, kFlags, -1, 0);
  if (memory == MAP_FAILED || cells == MAP_FAILED) {
    return "the simulator cannot reserve 144 GiB of address space: raise `ulimit -v` or set vm.overcommit_memory to 0 "
           "or 1";
  }
  region = static_cast<unsigned char*>(memory);
  shadow = static_cast<Cell*>(cells);
  return nullptr;
}

void open_shared_memory(uint64_t bytes) {
  if (bytes != shared_bytes) {
    mark(0, std::max(bytes, shared_bytes), kNoMemory);
    mark(0, bytes, kUntouched);
    shared_bytes = bytes;
  }
  std::memset(region, kPoison, bytes);
}

void close_shared_memory() {
  mark(0, shared_bytes, kNoMemory);
  shared_bytes = 0;
}

const char* allocate(uint64_t bytes, uint64_t* address) {
  if (bytes == 0) return refuse("an allocation of 0 bytes: ask for at least one");
  if (bytes > kRegionBytes) return refuse("out of simulated device memory");
  const uint64_t reserved = rounded_up(bytes, kAlignment) + kGap;
  uint64_t offset = next_offset;
  auto found = free_offsets.find(reserved);
  if (found != free_offsets.end() && !found->second.empty()) {
    offset = found->second.back();
    found->second.pop_back();
  } else {
    if (next_offset + reserved > kRegionBytes) return refuse("out of simulated device memory (16 GiB)");
    next_offset += reserved;
  }
  allocations[offset] = Allocation{bytes, reserved};
  total_bytes += bytes;
  std::memset(region + offset, kPoison, bytes);
  mark(offset, bytes, kUntouched);
  *address = reinterpret_cast<uint64_t>(region + offset);
  return nullptr;
}

const char* release(uint64_t address) {
  auto found =
      is_in_region(address) ? allocations.find(address - reinterpret_cast<uint64_t>(region)) : allocations.end();
  if (found == allocations.end()) return refuse("free of an address that no allocation begins at");
  discard(found->first, found->second.bytes);
  total_bytes -= found->second.bytes;
  free_offsets[found->second.reserved].push_back(found->first);
  allocations.erase(found);
  return nullptr;
}

uint64_t live_bytes() { return total_bytes; }

const char* check_range(const char* what, uint64_t address, uint64_t bytes) {
  if (is_in_region(address)) {
    const uint64_t offset = address - reinterpret_cast<uint64_t>(region);
    auto found = allocation_before(offset);
    if (found != allocations.end() && offset - found->first <= found->second.bytes &&
        bytes <= found->second.bytes - (offset - found->first)) {
      return nullptr;
    }
  }
  return refuse(std::string(what) + " of " + std::to_string(bytes) + " bytes at " + describe_address(address) +
                " leaves its allocation");
}

std::string describe_address(uint64_t address) {
  if (!is_in_region(address)) {
    char text[64];
    snprintf(text, sizeof text, "address 0x%llx, which is not device memory", static_cast<unsigned long long>(address));
    return text;
  }
  const uint64_t offset = address - reinterpret_cast<uint64_t>(region);
  if (offset < kSharedBytesMax) {
    return "byte " + std::to_string(offset) + " of shared memory (" + std::to_string(shared_bytes) + " bytes)";
  }
  auto found = allocation_before(offset);
  if (found == allocations.end() || offset - found->first >= found->second.reserved) {
    return "an address outside every allocation";
  }
  return "byte " + std::to_string(offset - found->first) + " of a global allocation of " +
         std::to_string(found->second.bytes) + " bytes";
}

}  // namespace sim
