// Device memory of the simulator: one reserved region, allocations with gaps between them, and a shadow that knows of
// every two bytes who wrote and who read them last. Shared memory is the region's first part.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace sim {

constexpr uint64_t kSharedBytesMax = 256 * 1024;
constexpr uint64_t kRegionBytes = 16ull << 30;
/// Bytes that one shadow cell stands for: the smallest element that kernels may use.
constexpr uint64_t kCellBytes = 2;
/// Byte that fills shared memory and fresh allocations: all ones is a NaN in bf16 and f32.
constexpr int kPoison = 0xff;

/// Who touched two bytes last. A stamp is
///   barrier interval (32 bits) | what (2) | warp interval (20) | thread (10);
/// barrier intervals count on from launch to launch, warp intervals within a barrier interval.
struct Cell {
  uint64_t write;
  uint64_t read;
};

/// `write` of memory that belongs to no allocation, of memory whose asynchronous copy has not landed (the thread that
/// issued it is in the low bits), and `write` and `read` of memory that nobody has touched.
constexpr uint64_t kNoMemory = 0;
constexpr uint64_t kInFlight = 0xffffffffull << 32;
constexpr uint64_t kUntouched = 1ull << 32;
/// The first barrier interval of the first launch.
constexpr uint32_t kFirstInterval = 2;

/// What a stamp says beside the last thread. For writes: by an atomic operation, by several threads' atomic operations.
/// For reads: by several lanes of one warp, by several warps of one block, by several blocks.
enum Reach : uint64_t { kOneThread = 0, kAtomic = 1, kLanes = 1, kAtomics = 2, kWarps = 2, kBlocks = 3 };

extern unsigned char* region;
extern Cell* shadow;

/// Reserves region and shadow once; text if the system refuses.
const char* reserve_region();

inline bool is_in_region(uint64_t address) { return address - reinterpret_cast<uint64_t>(region) < kRegionBytes; }
inline uint64_t region_offset(const void* pointer) {
  return reinterpret_cast<uint64_t>(pointer) - reinterpret_cast<uint64_t>(region);
}
inline Cell* cell_of(uint64_t offset) { return shadow + offset / kCellBytes; }

/// Makes the first `bytes` of shared memory accessible, and poisons them.
void open_shared_memory(uint64_t bytes);
/// Forgets all accesses, and copies in flight: after a launch that failed.
void close_shared_memory();

const char* allocate(uint64_t bytes, uint64_t* address);
const char* release(uint64_t address);
uint64_t live_bytes();
/// Null if [address, address + bytes) lies in one allocation.
const char* check_range(const char* what, uint64_t address, uint64_t bytes);
/// For errors: "byte 12 of an allocation of 8 bytes", "byte 4 of shared memory (0 bytes)", …
std::string describe_address(uint64_t address);

}  // namespace sim
