// Every kernel of the CUDA backend: the sum of its families' tables. Read by nvcc, by the simulator, and mirrored in
// Rust. A row is X(name, parameter struct, threads of a block at most, bytes of dynamic shared memory at most).
#pragma once

#include "attention/attention.h"
#include "cache/cache.h"
#include "copy/copy.h"
#include "embedding/embedding.h"
#include "gemm/gemm.h"
#include "loss/loss.h"
#include "mlp/mlp.h"
#include "norm/norm.h"
#include "optim/optim.h"
#include "rope/rope.h"
#include "sampling/sampling.h"

#define GRADUS_KERNELS(X)     \
  GRADUS_ATTENTION_KERNELS(X) \
  GRADUS_CACHE_KERNELS(X)     \
  GRADUS_COPY_KERNELS(X)      \
  GRADUS_EMBEDDING_KERNELS(X) \
  GRADUS_GEMM_KERNELS(X)      \
  GRADUS_LOSS_KERNELS(X)      \
  GRADUS_MLP_KERNELS(X)       \
  GRADUS_NORM_KERNELS(X)      \
  GRADUS_OPTIM_KERNELS(X)     \
  GRADUS_ROPE_KERNELS(X)      \
  GRADUS_SAMPLING_KERNELS(X)
