//! The floating-point mode of every thread that computes: flush-to-zero, denormals-are-zero, round-to-nearest.
//!
//! Part of the numerics contract: a thread in another mode would round the same sum to other bits.

/// All exceptions masked, round to nearest, flush-to-zero (bit 15) and denormals-are-zero (bit 6).
#[cfg(target_arch = "x86_64")]
const MODE: u32 = 0x9fc0;
/// The sticky exception flags, which are no part of the mode.
#[cfg(target_arch = "x86_64")]
const FLAGS: u32 = 0x3f;

/// The contract's mode, until dropped: then the thread has its former mode back, so that a caller's own arithmetic
/// (JavaScript's, for one) never changes.
pub(crate) struct ContractMode {
    #[cfg(target_arch = "x86_64")]
    former: Option<u32>,
}

impl ContractMode {
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn enter() -> ContractMode {
        let former = read();
        if former & !FLAGS == MODE {
            return ContractMode { former: None };
        }
        write(MODE);
        ContractMode { former: Some(former) }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn enter() -> ContractMode {
        ContractMode {}
    }
}

impl Drop for ContractMode {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if let Some(former) = self.former {
            write(former);
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn read() -> u32 {
    let mut value = 0_u32;
    // SAFETY: stores the control register to a live u32 and touches nothing else.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut value, options(nostack, preserves_flags)) };
    value
}

#[cfg(target_arch = "x86_64")]
fn write(value: u32) {
    // SAFETY: loads a valid control word (reserved bits are zero) from a live u32. Exceptions stay masked.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const value, options(nostack, preserves_flags)) };
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::hint::black_box;

    #[test]
    fn flushes_denormals_inside_and_restores_outside() {
        let halve = || black_box(f32::MIN_POSITIVE) * black_box(0.5);
        assert!(halve() > 0.0);
        let mode = ContractMode::enter();
        assert_eq!(halve(), 0.0);
        drop(mode);
        assert!(halve() > 0.0);
    }
}
