//! Vectors without instructions of their own: the reference that every level equals.

use super::{Number, Vector};
use crate::bfloat16;
use crate::lanes::{Lanes, fold_max, fold_sum};
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
    fn larger(self, other: Plain) -> Plain {
        Plain(from_fn(|i| self.0[i].larger(other.0[i])))
    }
    fn smaller(self, other: Plain) -> Plain {
        Plain(from_fn(|i| self.0[i].smaller(other.0[i])))
    }
    fn exponent_from_low_bits(self) -> Plain {
        Plain(self.0.map(f32::exponent_from_low_bits))
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
    fn if_less(a: Plain, b: Plain, then: Plain, otherwise: Plain) -> Plain {
        Plain(from_fn(|i| if a.0[i] < b.0[i] { then.0[i] } else { otherwise.0[i] }))
    }
    fn fold_sum(self) -> f32 {
        fold_sum(self.0)
    }
    fn fold_max(self) -> f32 {
        fold_max(self.0)
    }
}
