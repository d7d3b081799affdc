//! What the optimizer keeps of one parameter: moments, and the master of a bf16 weight, all f32 in the weight's packing.

use crate::pool::Pool;
use crate::weight::Weight;
use gradus_ops::{Error, OptimizerValues, Precision, Result};

/// Most elements that are copied from a weight to its master at once.
const COPIED_ELEMENTS: usize = 1 << 20;

/// Both moments, and the values that are updated where the weight itself, in bf16, holds them rounded.
pub struct OptimizerState {
    pub(crate) master: Option<Weight>,
    pub(crate) m: Weight,
    pub(crate) v: Weight,
}

impl OptimizerState {
    /// Zero moments; the master is the weight.
    pub(crate) fn of(pool: &Pool, weight: &Weight) -> Result<OptimizerState> {
        let (rows, cols) = (weight.rows(), weight.cols());
        let zeroed = || Weight::zeroed(rows, cols, Precision::F32);
        let master = match weight.precision() {
            Precision::F32 => None,
            Precision::Bf16 => Some(widened(pool, weight)?),
            Precision::Q8 => return Err(quantised()),
        };
        Ok(OptimizerState { master, m: zeroed()?, v: zeroed()? })
    }

    /// Bytes of the state of `weight`, without padding.
    pub(crate) fn bytes_of(weight: &Weight) -> u64 {
        let lists = match weight.precision() {
            Precision::F32 => 2,
            Precision::Bf16 => 3,
            Precision::Q8 => 0,
        };
        (lists * weight.rows() * weight.cols() * size_of::<f32>()) as u64
    }

    pub(crate) fn load(
        &mut self,
        pool: &Pool,
        values: OptimizerValues,
        weight: &mut Weight,
        row_offset: usize,
        src: &[f32],
    ) -> Result<()> {
        self.m.check_shape("load_optimizer", "the state", weight.rows(), weight.cols())?;
        match (values, &mut self.master) {
            (OptimizerValues::FirstMoment, _) => self.m.load_row_major(pool, row_offset, src),
            (OptimizerValues::SecondMoment, _) => self.v.load_row_major(pool, row_offset, src),
            (OptimizerValues::Master, None) => Err(no_master("load_optimizer")),
            (OptimizerValues::Master, Some(master)) => {
                master.load_row_major(pool, row_offset, src)?;
                weight.load_row_major(pool, row_offset, src)
            }
        }
    }

    pub(crate) fn store(&self, values: OptimizerValues, row_offset: usize, dst: &mut [f32]) -> Result<()> {
        let list = match values {
            OptimizerValues::FirstMoment => &self.m,
            OptimizerValues::SecondMoment => &self.v,
            OptimizerValues::Master => self.master.as_ref().ok_or_else(|| no_master("store_optimizer"))?,
        };
        list.store_row_major(row_offset, dst)
    }
}

/// The values of `weight` in f32.
fn widened(pool: &Pool, weight: &Weight) -> Result<Weight> {
    let (rows, cols) = (weight.rows(), weight.cols());
    let mut master = Weight::zeroed(rows, cols, Precision::F32)?;
    let rows_at_once = (COPIED_ELEMENTS / cols.max(1)).max(1);
    let mut values = Vec::new();
    for first in (0..rows).step_by(rows_at_once) {
        values.resize(rows_at_once.min(rows - first) * cols, 0.0);
        weight.store_row_major(first, &mut values)?;
        master.load_row_major(pool, first, &values)?;
    }
    Ok(master)
}

fn no_master(op: &'static str) -> Error {
    Error::Invalid { op, reason: "an f32 weight has no master".into() }
}

/// The error of training a weight in q8_0.
pub(crate) fn quantised() -> Error {
    let reason = "a q8_0 weight cannot be trained; load the policy in f32 or bf16".into();
    Error::Invalid { op: "adamw", reason }
}
