//! Instruction levels: which kernels run on this machine, and `dispatch!`, which compiles one body for each of them.
//!
//! Levels give equal bits: each kernel fixes the order of every sum and writes its fused multiply-adds out.

use gradus_ops::{Error, Result};

/// The instruction set a backend's kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Plain Rust: the reference for tests, slow because a fused multiply-add is a library call.
    Portable,
    /// AVX2 with FMA: every x86-64 server since 2013.
    Avx2,
    /// AVX-512 (F, BW, DQ, VL): 16 lanes and 32 registers.
    Avx512,
    /// AVX-512 with 8-bit dot products.
    Avx512Vnni,
    /// AVX-512 with bf16 and 8-bit dot products.
    Avx512Bf16,
}

impl Level {
    /// Every level, slowest first.
    pub const ALL: [Level; 5] = [Level::Portable, Level::Avx2, Level::Avx512, Level::Avx512Vnni, Level::Avx512Bf16];

    /// The name used by `GRADUS_CPU`, in checkpoints and in benchmark lines.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Vnni => "avx512vnni",
            Level::Avx512Bf16 => "avx512bf16",
        }
    }

    /// Whether this machine can run the level.
    pub fn is_available(self) -> bool {
        match self {
            Level::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                Level::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => Level::Avx512.is_available() && is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Bf16 => Level::Avx512Vnni.is_available() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The level itself, or an error if this machine cannot run it.
    pub(crate) fn require(self) -> Result<Level> {
        if self.is_available() {
            return Ok(self);
        }
        let reason = format!("this machine has no {}; unset GRADUS_CPU or choose another level", self.name());
        Err(Error::Invalid { op: "cpu", reason })
    }

    /// The level named by `GRADUS_CPU` (`forced`), or the fastest one of this machine where it is unset or empty.
    pub(crate) fn select(forced: Option<&str>) -> Result<Level> {
        let Some(name) = forced.filter(|name| !name.is_empty()) else {
            return Ok(Level::ALL.into_iter().rev().find(|level| level.is_available()).unwrap_or(Level::Portable));
        };
        let named = Level::ALL.into_iter().find(|level| level.name() == name);
        let unknown = || format!("GRADUS_CPU={name} is unknown; use {}", Level::ALL.map(Level::name).join(", "));
        named.ok_or_else(|| Error::Invalid { op: "cpu", reason: unknown() })?.require()
    }
}

/// Defines `fn name(level, arguments…)`, which runs an `#[inline(always)]` body compiled for that level.
///
/// `dispatch! { pub(crate) fn add(y: &mut [f32], x: &[f32]) = add_body; }` is called as `add(level, y, x)`. A body may be
/// generic: `fn copy<T: Activation>(y: &mut [T], x: &[T]) = copy_body;`.
/// Everything the body calls must be `#[inline(always)]` too, else it is compiled without the level's instructions
/// (slower, same bits). Call it per task, on a whole range of rows, not per row of a few elements.
macro_rules! dispatch {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis fn $name:ident $(<$($generic:ident: $bound:path),+>)? ($($argument:ident: $kind:ty),* $(,)?) $(-> $result:ty)? = $body:path;
    )+) => {$(
        $(#[$attribute])*
        #[allow(clippy::too_many_arguments)]
        $visibility fn $name $(<$($generic: $bound),+>)? (level: $crate::level::Level, $($argument: $kind),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments)]
            fn avx2 $(<$($generic: $bound),+>)? ($($argument: $kind),*) $(-> $result)? {
                $body($($argument),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(clippy::too_many_arguments)]
            fn avx512 $(<$($generic: $bound),+>)? ($($argument: $kind),*) $(-> $result)? {
                $body($($argument),*)
            }
            match level {
                $crate::level::Level::Portable => $body($($argument),*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: a backend is made only with a level that this machine has (`Level::require`).
                $crate::level::Level::Avx2 => unsafe { avx2($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above; every level after AVX2 has these instructions.
                _ => unsafe { avx512($($argument),*) },
                #[cfg(not(target_arch = "x86_64"))]
                _ => $body($($argument),*),
            }
        }
    )+};
}
pub(crate) use dispatch;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_by_name_or_takes_the_fastest() {
        assert_eq!(Level::select(Some("portable")).unwrap(), Level::Portable);
        assert!(Level::select(None).unwrap().is_available());
        assert_eq!(Level::select(Some("")).unwrap(), Level::select(None).unwrap());
        let message = Level::select(Some("sse9")).unwrap_err().to_string();
        assert!(message.contains("sse9") && message.contains("avx2"), "{message}");
    }
}
