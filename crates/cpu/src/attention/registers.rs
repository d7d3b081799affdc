//! The registers of each instruction level, as the tiles of attention's products use them.
//!
//! Every method is a few instructions once inlined into a function of that level (`product`); each lane is rounded as on every
//! other level.

use crate::activation::Activation;
use crate::bfloat16;
use half::bf16;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _mm_loadu_si128, _mm256_broadcast_ss, _mm256_castsi256_ps, _mm256_cvtepu16_epi32, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_setzero_ps, _mm256_slli_epi32, _mm256_storeu_ps, _mm512_castsi512_ps,
    _mm512_cvtepu16_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_slli_epi32,
    _mm512_storeu_ps,
};

/// Some f32 lanes in registers.
///
/// Addresses need no alignment. All methods are unsafe: addresses must hold [`Register::LANES`] elements (`broadcast`: one),
/// and the machine must have the instructions.
pub(super) trait Register: Copy {
    const LANES: usize;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const f32) -> Self;
    /// Each element as the f32 that it equals.
    unsafe fn widen(from: *const bf16) -> Self;
    unsafe fn broadcast(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// self · factor + addend, rounded once.
    unsafe fn fma(self, factor: Self, addend: Self) -> Self;
}

/// An instruction level: 16 and 8 lanes, and how large a tile of sums its registers hold.
pub(super) trait Instructions {
    type Wide: Register;
    type Half: Register;
    /// Rows of a tile at most.
    const ROWS: usize;
    /// Rows times wide columns of a tile at most: enough chains to hide the latency of a fused multiply-add.
    const SUMS: usize;
}

/// What a matrix product reads: f32, or bf16 widened on the way.
pub(super) trait Stored: Activation {
    /// See [`Register`].
    unsafe fn register<R: Register>(from: *const Self) -> R;
    fn to_f32(self) -> f32;
    fn from_f32(value: f32) -> Self;
}

impl Stored for f32 {
    #[inline(always)]
    unsafe fn register<R: Register>(from: *const f32) -> R {
        // SAFETY: the caller's promise.
        unsafe { R::load(from) }
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> f32 {
        value
    }
}

impl Stored for bf16 {
    #[inline(always)]
    unsafe fn register<R: Register>(from: *const bf16) -> R {
        // SAFETY: the caller's promise.
        unsafe { R::widen(from) }
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        bfloat16::to_f32(self)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> bf16 {
        bfloat16::from_f32(value)
    }
}

/// Plain arrays, the reference of every other level.
pub(super) struct Plain;

impl Instructions for Plain {
    type Wide = [f32; 16];
    type Half = [f32; 8];
    const ROWS: usize = 2;
    const SUMS: usize = 2;
}

impl<const N: usize> Register for [f32; N] {
    const LANES: usize = N;
    unsafe fn zero() -> Self {
        [0.0; N]
    }
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise; the array has the alignment of an element.
        unsafe { from.cast::<[f32; N]>().read() }
    }
    unsafe fn widen(from: *const bf16) -> Self {
        // SAFETY: as above.
        unsafe { from.cast::<[bf16; N]>().read() }.map(bfloat16::to_f32)
    }
    unsafe fn broadcast(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        [unsafe { *from }; N]
    }
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as in `load`.
        unsafe { to.cast::<[f32; N]>().write(self) }
    }
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        std::array::from_fn(|lane| self[lane].mul_add(factor[lane], addend[lane]))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) struct Avx2;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx2 {
    type Wide = [__m256; 2];
    type Half = __m256;
    const ROWS: usize = 4;
    const SUMS: usize = 4;
}

#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Instructions for Avx512 {
    type Wide = __m512;
    type Half = __m256;
    const ROWS: usize = 8;
    const SUMS: usize = 16;
}

#[cfg(target_arch = "x86_64")]
impl Register for __m256 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const bf16) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())))) }
    }
    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_broadcast_ss(&*from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn fma(self, factor: __m256, addend: __m256) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_fmadd_ps(self, factor, addend) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Register for [__m256; 2] {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller's promise.
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [<__m256 as Register>::load(from), <__m256 as Register>::load(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn widen(from: *const bf16) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [<__m256 as Register>::widen(from), <__m256 as Register>::widen(from.add(8))] }
    }
    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [<__m256 as Register>::broadcast(from); 2] }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe {
            self[0].store(to);
            self[1].store(to.add(8));
        }
    }
    #[inline(always)]
    unsafe fn fma(self, factor: Self, addend: Self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { [self[0].fma(factor[0], addend[0]), self[1].fma(factor[1], addend[1])] }
    }
}

#[cfg(target_arch = "x86_64")]
impl Register for __m512 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn widen(from: *const bf16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())))) }
    }
    #[inline(always)]
    unsafe fn broadcast(from: *const f32) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_set1_ps(*from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn fma(self, factor: __m512, addend: __m512) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_fmadd_ps(self, factor, addend) }
    }
}
