// Makes the launch table out of kernels.h.
#include "sim/table.h"

#include "kernels.h"

#define GRADUS_DECLARE(name, Params, threads_max, shared_bytes) extern "C" void name(const Params p);
GRADUS_KERNELS(GRADUS_DECLARE)

namespace sim {

std::vector<Kernel>& kernels() {
#define GRADUS_ROW(name, Params, threads_max, shared_bytes)                     \
  Kernel {                                                                      \
    {#name, sizeof(Params), threads_max, shared_bytes},                         \
        [](const void* params) { ::name(*static_cast<const Params*>(params)); } \
  }                                                                             \
  ,
  static std::vector<Kernel> table{GRADUS_KERNELS(GRADUS_ROW)};
  return table;
}

}  // namespace sim
