// The C interface of libgradus_cuda_sim.so: device memory and kernel launches without a GPU.
// crates/cuda loads it as one of its two drivers; tests.cpp links it directly.
//
// Every function that can fail returns null, or one line of text that says what went wrong. The text belongs to the
// calling thread and lives until that thread's next call. Calls from several threads are done one after another.
// Device addresses are addresses of this process, but only this interface may touch what they point to.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__GNUC__)
#define GRADUS_SIM_API extern "C" __attribute__((visibility("default")))
#else
#define GRADUS_SIM_API extern "C"
#endif

/// What a launch needs to know of a kernel: one row of kernels.h.
struct GradusSimKernel {
  const char* name;
  uint32_t params_bytes;  // sizeof of its parameter struct
  uint32_t threads_max;   // per block
  uint32_t shared_bytes;  // dynamic shared memory of a block, at most
};

/// Changes whenever this interface does.
GRADUS_SIM_API uint32_t gradus_sim_version();

/// Reserves device memory aligned to 256 bytes, filled with 0xFF: a NaN in bf16 and f32, so that what nobody wrote is
/// seen.
GRADUS_SIM_API const char* gradus_sim_alloc(uint64_t bytes, uint64_t* address);
/// Gives back memory of gradus_sim_alloc; later accesses by kernels are found.
GRADUS_SIM_API const char* gradus_sim_free(uint64_t address);
/// Bytes in live allocations.
GRADUS_SIM_API uint64_t gradus_sim_live_bytes();

GRADUS_SIM_API const char* gradus_sim_copy_to_device(uint64_t to, const void* from, uint64_t bytes);
GRADUS_SIM_API const char* gradus_sim_copy_to_host(void* to, uint64_t from, uint64_t bytes);
GRADUS_SIM_API const char* gradus_sim_copy_on_device(uint64_t to, uint64_t from, uint64_t bytes);
/// Sets every byte, as cuMemsetD8 does.
GRADUS_SIM_API const char* gradus_sim_fill(uint64_t to, uint8_t value, uint64_t bytes);

/// Number of kernels; `gradus_sim_kernel` gives the one at an index, or null past the end.
GRADUS_SIM_API uint32_t gradus_sim_kernels();
GRADUS_SIM_API const GradusSimKernel* gradus_sim_kernel(uint32_t index);

/// Runs a kernel to its end. `seed` shuffles the order of blocks and threads: results must not depend on it.
/// The error names the kernel, the two threads and the source line of a race, an access outside every allocation,
/// a barrier that not all threads reach, and the like; after an error the contents of device memory are undefined.
GRADUS_SIM_API const char* gradus_sim_launch(const char* name, const uint32_t grid[3], const uint32_t block[3],
                                             uint32_t shared_bytes, const void* params, uint32_t params_bytes,
                                             uint64_t seed);
