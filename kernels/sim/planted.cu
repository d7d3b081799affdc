// See planted.h. Without a fault `planted_faults` moves every number to another thread three times, so that
// to[block, t] = from[t] + t, and counts all threads: through shared memory across warps, within a warp, and by an
// asynchronous copy.
#include "sim/planted.h"

#include "common/device.cuh"
#include "common/ptx.cuh"

GRADUS_KERNEL(128, planted_faults, PlantedParams) {
  const Fault fault = static_cast<Fault>(p.fault);
  const uint32_t t = threadIdx.x, lane = lane_index();
  float* numbers = smem<float>();               // [128]
  float* within_warp = smem<float>(512);        // [128]
  float* copied = smem<float>(1024);            // [128]
  const uint32_t opposite = p.threads - 1 - t;  // in another warp

  // Across warps.
  if (fault != Fault::Unwritten || t != 5) numbers[opposite] = p.from[opposite];
  if (fault == Fault::DivergentBarrier && t >= 96) return;
  if (fault != Fault::NoBarrier) __syncthreads();
  float value = numbers[t];

  // Within a warp.
  within_warp[t] = value;
  if (fault == Fault::ShuffleForSync) {
    value = __shfl_sync(kFullMask, value, lane);
  } else if (fault != Fault::NoWarpSync) {
    __syncwarp();
  }
  value = within_warp[t / kWarpSize * kWarpSize + (lane ^ 1)];
  value = __shfl_xor_sync(kFullMask, value, 1);
  if (fault == Fault::DivergentCollective && lane < 16) __syncwarp();

  // By an asynchronous copy of four numbers for each fourth thread.
  if (fault == Fault::CopyOverReaders) {
    copied[t] = 0.0f;
    __syncthreads();
    value += copied[opposite];
  }
  if (t % 4 == 0) ptx::cp_async_16(ptx::shared_address(copied + t), p.from + t, 16);
  ptx::cp_async_commit();
  if (fault == Fault::CopyNeverWaited) return;
  if (fault != Fault::NoCopyWait) ptx::cp_async_wait_group<0>();
  if (fault != Fault::NoCopyBarrier) __syncthreads();
  value += copied[t] - value;
  if (fault == Fault::NoCopyWait) ptx::cp_async_wait_group<0>();

  const uint32_t place = fault == Fault::TwoBlocksOneWord ? t : blockIdx.x * p.threads + t;
  p.to[place] = value + static_cast<float>(t) + (numbers[t] - numbers[t]);
  if (fault == Fault::StorePastEnd && blockIdx.x == gridDim.x - 1 && t == p.threads - 1) p.to[place + 1] = 0.0f;
  // Blocks meet only here, where order cannot matter.
  atomicAdd(p.count, 1u);
  if (fault == Fault::AtomicBesidePlain) p.to[place] = static_cast<float>(*p.count);
  if (fault == Fault::Misaligned) {
    const char* bytes = reinterpret_cast<const char*>(p.from);
    p.to[place] = *reinterpret_cast<const float*>(bytes + 2);
  }
}

GRADUS_KERNEL(32, planted_fragment, PlantedMmaParams) {
  uint16_t* a = smem<uint16_t>();     // [16][16]
  uint16_t* b = smem<uint16_t>(512);  // [8][16]
  const uint32_t lane = lane_index();
  for (uint32_t i = lane; i < 256; i += 32) a[i] = p.a[i];
  for (uint32_t i = lane; i < 128; i += 32) b[i] = p.b[i];
  __syncwarp();
  uint32_t left[4], right[2];
  ptx::ldmatrix_x4(left, ptx::shared_address(a + lane % 16 * 16 + lane / 16 * 8));
  ptx::ldmatrix_x2(right, ptx::shared_address(b + lane % 8 * 16 + lane / 8 % 2 * 8));
  if (p.swapped != 0) {
    const uint32_t first = left[1];
    left[1] = left[2];
    left[2] = first;
  }
  float d[4] = {};
  ptx::mma_m16n8k16(d, left, right);
  for (int i = 0; i < 4; ++i) p.d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}
