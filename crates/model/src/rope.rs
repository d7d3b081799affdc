//! The rotary table: cosines and sines of every position, computed in f64 and stored in f32.
//!
//! Built once with the model; training and inference read the same rows, so equal positions give equal bits.

use std::f64::consts::TAU;

use crate::ModelConfig;

/// How a model stretches its positions beyond those it was first trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    Default,
    /// Every frequency divided by `factor`.
    Linear {
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, those between interpolated.
    Llama3 {
        factor: f64,
        low_frequency_factor: f64,
        high_frequency_factor: f64,
        original_positions: f64,
    },
}

impl RopeScaling {
    fn apply(self, frequency: f64) -> f64 {
        match self {
            RopeScaling::Default => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_positions } => {
                let wavelength = TAU / frequency;
                if wavelength > original_positions / low_frequency_factor {
                    frequency / factor
                } else if wavelength < original_positions / high_frequency_factor {
                    frequency
                } else {
                    let smooth = (original_positions / wavelength - low_frequency_factor)
                        / (high_frequency_factor - low_frequency_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                }
            }
        }
    }
}

/// `[max_position_embeddings, head_dim]`, a row being the cosines of its head_dim / 2 angles, then their sines.
pub(crate) fn rope_table(config: &ModelConfig) -> Vec<f32> {
    let half = config.head_dim / 2;
    let frequencies: Vec<f64> =
        (0..half).map(|i| config.rope_scaling.apply(config.rope_theta.powf(-(i as f64) / half as f64))).collect();
    let mut table = vec![0.0; config.max_position_embeddings * config.head_dim];
    for (position, row) in table.chunks_exact_mut(config.head_dim).enumerate() {
        let (cosines, sines) = row.split_at_mut(half);
        for ((cosine, sine), frequency) in cosines.iter_mut().zip(sines).zip(&frequencies) {
            let (s, c) = (position as f64 * frequency).sin_cos();
            (*cosine, *sine) = (c as f32, s as f32);
        }
    }
    table
}
