//! Sixteen f32 lanes as one value: the contract's virtual lanes in the registers of each instruction level.
//!
//! Kernels are written once over [`Vector`]; `dispatch_vector!` compiles them for each level. Levels give equal bits because
//! each operation is exactly rounded and the fold tree is the contract's.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod plain;
mod reduction;

pub(crate) use plain::Plain;
pub(crate) use reduction::{dot, maximum};
#[cfg(target_arch = "x86_64")]
pub(crate) use {avx2::Avx2, avx512::Avx512};

use gradus_ops::LANES;
use half::bf16;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// One number or sixteen: what the elementary functions are written over.
pub(crate) trait Number:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    fn splat(value: f32) -> Self;
    /// self · factor + addend, rounded once.
    fn fma(self, factor: Self, addend: Self) -> Self;
    /// The larger of the two; self where they compare equal or one is NaN.
    fn larger(self, other: Self) -> Self;
    /// The smaller of the two; self where they compare equal or one is NaN.
    fn smaller(self, other: Self) -> Self;
    /// 2ⁿ where the lowest 8 bits of self are n + 127: 0 for n = −127, infinity for n = 128.
    fn exponent_from_low_bits(self) -> Self;
}

/// Sixteen lanes.
pub(crate) trait Vector: Number {
    fn load(x: &[f32; LANES]) -> Self;
    fn store(self, x: &mut [f32; LANES]);
    fn load_bf16(x: &[bf16; LANES]) -> Self;
    /// Rounds as [`crate::bfloat16::from_f32`] does.
    fn store_bf16(self, x: &mut [bf16; LANES]);
    /// `then` where a < b, else (also where one is NaN) `otherwise`.
    fn if_less(a: Self, b: Self, then: Self, otherwise: Self) -> Self;
    /// Lane i += lane i + 8, then + 4, + 2, + 1.
    fn fold_sum(self) -> f32;
    /// The largest lane, by the same tree.
    fn fold_max(self) -> f32;
}

impl Number for f32 {
    #[inline(always)]
    fn splat(value: f32) -> f32 {
        value
    }
    #[inline(always)]
    fn fma(self, factor: f32, addend: f32) -> f32 {
        self.mul_add(factor, addend)
    }
    #[inline(always)]
    fn larger(self, other: f32) -> f32 {
        if self < other { other } else { self }
    }
    #[inline(always)]
    fn smaller(self, other: f32) -> f32 {
        if other < self { other } else { self }
    }
    #[inline(always)]
    fn exponent_from_low_bits(self) -> f32 {
        f32::from_bits(self.to_bits() << 23)
    }
}

/// Fetches the cache line 2 KiB after `x`, which a loop with much arithmetic reaches soon: too few loads of its own are under way
/// at a time to keep the memory busy.
#[inline(always)]
pub(crate) fn prefetch_after<T>(x: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing and never faults, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(x).cast::<i8>().wrapping_add(2048)) };
    }
}

/// Fetches a cache line into the second-level cache, which waits for many more lines at once than the first; any address will do.
#[inline(always)]
pub(crate) fn prefetch_later<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch reads nothing and never faults, wherever it points.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Fetches a cache line that will be written soon; any address will do.
#[inline(always)]
pub(crate) fn prefetch_to_write<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_ET0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Defines `fn name(level, arguments…)`, which runs the generic body `fn body<V: Vector, …>` with the vectors of that level.
///
/// `dispatch_vector! { fn scale<T: Activation>(y: &mut [T], factor: f32) = scale_body; }` is called as `scale(level, y, factor)`.
/// The body and everything it calls must be `#[inline(always)]`, as for `level::dispatch!`.
macro_rules! dispatch_vector {
    ($(
        $visibility:vis fn $name:ident $(<$($generic:ident: $bound:path),+>)? ($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? = $body:ident;
    )+) => {$(
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name $(<$($generic: $bound),+>)? (level: $crate::level::Level, $($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2 $(<$($generic: $bound),+>)? ($($argument: $kind),*) $(-> $result)? {
                $body::<$crate::vector::Avx2 $($(, $generic)+)?>($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(clippy::too_many_arguments)]
            fn avx512 $(<$($generic: $bound),+>)? ($($argument: $kind),*) $(-> $result)? {
                $body::<$crate::vector::Avx512<false> $($(, $generic)+)?>($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
            #[allow(clippy::too_many_arguments)]
            fn avx512bf16 $(<$($generic: $bound),+>)? ($($argument: $kind),*) $(-> $result)? {
                $body::<$crate::vector::Avx512<true> $($(, $generic)+)?>($($argument),*)
            }
            match level {
                $crate::level::Level::Portable => $body::<$crate::vector::Plain $($(, $generic)+)?>($($argument),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a backend is made only with a level that this machine has (`Level::require`).
                $crate::level::Level::Avx2 => unsafe { avx2($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::level::Level::Avx512 | $crate::level::Level::Avx512Vnni => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::level::Level::Avx512Bf16 => unsafe { avx512bf16($($argument),*) },
                #[cfg(not(target_arch = "x86_64"))]
                _ => $body::<$crate::vector::Plain $($(, $generic)+)?>($($argument),*),
            }
        }
    )+};
}
pub(crate) use dispatch_vector;
