//! How a policy's parameters are stored and multiplied.

use gradus_tensor::DType;

/// The number format of a policy: of its matrices, of its activations and of its keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// Everything in f32.
    F32,
    /// bf16 parameters, activations, keys and values; f32 sums, gradients, masters and moments.
    Bf16,
    /// Matrices in blocks of 32 signed bytes with an f32 scale, everything else f32: inference only.
    Q8,
}

impl Precision {
    pub const ALL: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::Q8];

    /// The name in configurations, files and errors.
    pub const fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::Q8 => "q8_0",
        }
    }

    /// The element type of activations, keys and values.
    pub const fn activations(self) -> DType {
        match self {
            Precision::F32 | Precision::Q8 => DType::F32,
            Precision::Bf16 => DType::BF16,
        }
    }

    /// The element type of its parameters in a file. (Those of a q8_0 policy are never written.)
    pub const fn saved(self) -> DType {
        match self {
            Precision::F32 | Precision::Q8 => DType::F32,
            Precision::Bf16 => DType::BF16,
        }
    }

    /// Whether a policy in it has a backward.
    pub const fn is_trainable(self) -> bool {
        match self {
            Precision::F32 | Precision::Bf16 => true,
            Precision::Q8 => false,
        }
    }

    /// Whether the optimizer keeps an f32 master of each parameter, which is too coarse to take small steps itself.
    pub const fn has_masters(self) -> bool {
        match self {
            Precision::F32 | Precision::Q8 => false,
            Precision::Bf16 => true,
        }
    }
}
