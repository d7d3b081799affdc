//! What the optimizer keeps of one parameter: 6 bytes an element, with which a bf16 weight is an exact f32 master.
//!
//! A master's bits are weight · 2¹⁶ + remainder. The weight is the master rounded half away from zero; half to even would leave remainders from
//! −2¹⁵ to 2¹⁵, one more than 16 bits can tell. kernels/optim/adamw.cu reads and writes the same.

use crate::device::Device;
use crate::driver::Address;
use crate::memory::Memory;
use crate::weight::Weight;
use gradus_ops::{OptimizerValues, Precision, Result};
use std::sync::Arc;

/// Remainders in i16 and moments in bf16, all lying as the weight does.
pub struct OptimizerState {
    remainder: Memory,
    m: Weight,
    v: Weight,
}

/// Where the parts lie.
pub(crate) struct Addresses {
    pub remainder: Address,
    pub m: Address,
    pub v: Address,
}

impl OptimizerState {
    /// Zero moments and remainders: the master is the weight.
    pub(crate) fn of(device: &Arc<Device>, weight: &Weight) -> Result<OptimizerState> {
        weight.require("alloc_optimizer", "weight", Precision::Bf16)?;
        let (rows, cols) = (weight.rows(), weight.cols());
        let zeroed = || Weight::zeroed(device, rows, cols, Precision::Bf16);
        let remainder = Memory::zeroed(device, weight.elements(), size_of::<i16>())?;
        Ok(OptimizerState { remainder, m: zeroed()?, v: zeroed()? })
    }

    /// Bytes of the state of `weight`, without padding.
    pub(crate) fn bytes_of(weight: &Weight) -> u64 {
        (3 * size_of::<u16>() * weight.rows() * weight.cols()) as u64
    }

    /// Addresses to read and write; an error unless all are `[rows, cols]`.
    pub(crate) fn addresses(&mut self, op: &'static str, shape: (usize, usize)) -> Result<Addresses> {
        let m = self.m.address_mut(op, "the state", shape, Precision::Bf16)?;
        let v = self.v.address_mut(op, "the state", shape, Precision::Bf16)?;
        // Made for the same shape.
        Ok(Addresses { remainder: self.remainder.address(), m, v })
    }

    pub(crate) fn load(
        &mut self,
        values: OptimizerValues,
        weight: &mut Weight,
        row_offset: usize,
        src: &[f32],
    ) -> Result<()> {
        const OP: &str = "load_optimizer";
        self.m.address(OP, "the state", (weight.rows(), weight.cols()), Precision::Bf16)?;
        match values {
            OptimizerValues::FirstMoment => self.m.load_row_major(row_offset, src),
            OptimizerValues::SecondMoment => self.v.load_row_major(row_offset, src),
            OptimizerValues::Master => {
                weight.load_rounded(OP, row_offset, src, rounded_away)?;
                self.m.layout().load(OP, &mut self.remainder, row_offset, src, remainder_of)
            }
        }
    }

    pub(crate) fn store(
        &self,
        values: OptimizerValues,
        weight: &Weight,
        row_offset: usize,
        dst: &mut [f32],
    ) -> Result<()> {
        const OP: &str = "store_optimizer";
        self.m.address(OP, "the state", (weight.rows(), weight.cols()), Precision::Bf16)?;
        match values {
            OptimizerValues::FirstMoment => self.m.store_row_major(row_offset, dst),
            OptimizerValues::SecondMoment => self.v.store_row_major(row_offset, dst),
            OptimizerValues::Master => {
                weight.store_row_major(row_offset, dst)?;
                let combined = |remainder: i16, value: &mut f32| *value = master(*value, remainder);
                self.m.layout().store(OP, &self.remainder, row_offset, dst, combined)
            }
        }
    }
}

/// The bf16 nearest to a master, half away from zero; a NaN stays one.
fn rounded_away(master: f32) -> u16 {
    if master.is_nan() { 0x7fff } else { ((master.to_bits() + 0x8000) >> 16) as u16 }
}

/// The bits of a master below those of its weight: at most 16, with a sign.
fn remainder_of(master: f32) -> i16 {
    master.to_bits().wrapping_sub(u32::from(rounded_away(master)) << 16) as i16
}

/// The master of a weight, given as the f32 that it equals.
fn master(weight: f32, remainder: i16) -> f32 {
    f32::from_bits(weight.to_bits().wrapping_add_signed(i32::from(remainder)))
}

#[cfg(test)]
mod tests {
    use super::{master, remainder_of, rounded_away};

    #[test]
    fn every_master_is_its_weight_and_a_remainder() {
        // Steps that reach ties, neighbours of ties, both signs, denormals and infinities.
        let spread = (0..=u32::MAX).step_by(4099);
        let ties = (0..=u16::MAX).flat_map(|upper| [0x7fff, 0x8000, 0x8001].map(|low| u32::from(upper) << 16 | low));
        for bits in spread.chain(ties) {
            let value = f32::from_bits(bits);
            let weight = f32::from_bits(u32::from(rounded_away(value)) << 16);
            let found = master(weight, remainder_of(value));
            assert!(
                if value.is_nan() { weight.is_nan() && found.is_nan() } else { found.to_bits() == bits },
                "{bits:x}"
            );
        }
    }

    #[test]
    fn weights_are_rounded_half_away_from_zero() {
        for (bits, weight) in
            [(0x3f80_7fff, 0x3f80), (0x3f80_8000, 0x3f81), (0x3f81_8000, 0x3f82), (0xbf80_8000, 0xbf81)]
        {
            assert_eq!(rounded_away(f32::from_bits(bits)), weight);
        }
    }
}
