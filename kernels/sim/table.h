// The kernels of this library by name.
#pragma once

#include <vector>

#include "sim/sim.h"

namespace sim {

struct Kernel {
  GradusSimKernel info;
  void (*entry)(const void* params);
};

/// Every row of kernels.h.
std::vector<Kernel>& kernels();

}  // namespace sim
