//! What the tests of every crate share: seeded numbers and distances to a reference. A dev-dependency only.

mod numbers;

pub use numbers::{integers, relative_l2, uniform};
