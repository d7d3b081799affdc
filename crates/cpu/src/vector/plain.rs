//! Vectors without instructions of their own: the reference that every level equals.

use super::{Number, Vector};
use crate::bfloat16;
use crate::lanes::{Lanes, fold_max, fold_sum, larger};
use gradus_ops::LANES;
use half::bf16;
use std::array::from_fn;
use std::ops::{Add, Div, Mul, Neg, Sub};

#[derive(Clone, Copy)]
pub(crate) struct Plain(Lanes);

macro_rules! operators {
    ($($trait:ident $method:ident $operator:tt;)+) => {$(
        impl $trait for Plain {
            type Output = Plain;
            fn $method(self, other: Plain) -> Plain {
                Plain(from_fn(|i| self.0[i] $operator other.0[i]))
            }
        }
    )+};
}

operators! {
    Add add +;
    Sub sub -;
    Mul mul *;
    Div div /;
}

impl Neg for Plain {
    type Output = Plain;
    fn neg(self) -> Plain {
        Plain(self.0.map(Neg::neg))
    }
}

impl Number for Plain {
    fn splat(value: f32) -> Plain {
        Plain([value; LANES])
    }
    fn fma(self, factor: Plain, addend: Plain) -> Plain {
        Plain(from_fn(|i| self.0[i].fma(factor.0[i], addend.0[i])))
    }
    fn if_less(a: Plain, b: Plain, then: Plain, otherwise: Plain) -> Plain {
        Plain(from_fn(|i| f32::if_less(a.0[i], b.0[i], then.0[i], otherwise.0[i])))
    }
    fn nan_or(self, value: Plain) -> Plain {
        Plain(from_fn(|i| self.0[i].nan_or(value.0[i])))
    }
    fn add_exponent(self, shifted: Plain) -> Plain {
        Plain(from_fn(|i| self.0[i].add_exponent(shifted.0[i])))
    }
}

impl Vector for Plain {
    fn load(x: &Lanes) -> Plain {
        Plain(*x)
    }
    fn store(self, x: &mut Lanes) {
        *x = self.0;
    }
    fn load_bf16(x: &[bf16; LANES]) -> Plain {
        Plain(x.map(bfloat16::to_f32))
    }
    fn store_bf16(self, x: &mut [bf16; LANES]) {
        *x = self.0.map(bfloat16::from_f32);
    }
    fn larger(self, other: Plain) -> Plain {
        Plain(from_fn(|i| larger(self.0[i], other.0[i])))
    }
    fn fold_sum(self) -> f32 {
        fold_sum(self.0)
    }
    fn fold_max(self) -> f32 {
        fold_max(self.0)
    }
}
