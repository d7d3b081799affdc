// Every PTX instruction that kernels name: the only place with `asm`. Under GRADUS_SIM the same functions have the
// meaning that the PTX manual gives them (sim/device.h), the whole warp converged.
#pragma once

#include "common/device.cuh"

namespace ptx {

#ifdef GRADUS_SIM

using sim::cp_async_16;
using sim::cp_async_commit;
using sim::cp_async_wait_group;
using sim::cvt_rn_bf16x2_f32;
using sim::ldmatrix_x1;
using sim::ldmatrix_x1_trans;
using sim::ldmatrix_x2;
using sim::ldmatrix_x2_trans;
using sim::ldmatrix_x4;
using sim::ldmatrix_x4_trans;
using sim::mma_m16n8k16;
using sim::shared_address;

#else

/// The 32-bit address of shared memory that the instructions below take.
__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

/// Both values rounded to bf16 (nearest even); `low` goes to the low half.
__device__ __forceinline__ uint32_t cvt_rn_bf16x2_f32(float high, float low) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}

/// d = a · b + d for a [16, 16], b [16, 8] in bf16 and d [16, 8] in f32. With group = lane / 4 and pair = lane % 4:
/// a[0] (row group, k 2·pair..), a[1] (row group + 8, same k), a[2] (row group, k + 8), a[3] (row group + 8, k + 8);
/// b[0] (k 2·pair.., column group), b[1] (k + 8); d[0], d[1] (row group, columns 2·pair..), d[2], d[3] (row group + 8).
__device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/// Loads 8×8 matrices of 16-bit elements: lanes 8·j.. give the addresses of the rows of matrix j (16 bytes each); lane
/// l gets elements 2·(l % 4).. of row l / 4 of each, with `trans` of column l / 4.
__device__ __forceinline__ void ldmatrix_x1(uint32_t (&r)[1], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(row) : "memory");
}
__device__ __forceinline__ void ldmatrix_x1_trans(uint32_t (&r)[1], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];" : "=r"(r[0]) : "r"(row) : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(row)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(row)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}

/// Starts copying `bytes` (0 to 16) from global to shared memory; the rest of the 16 bytes at `to` becomes zero.
/// Both addresses are multiples of 16, `from` also where `bytes` is 0.
__device__ __forceinline__ void cp_async_16(uint32_t to, const void* from, uint32_t bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes) : "memory");
}
/// Closes the group of this thread's copies since the last commit; it may be empty.
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most N of this thread's newest groups are in flight. Others see the data after a barrier.
template <int N>
__device__ __forceinline__ void cp_async_wait_group() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#endif

}  // namespace ptx
