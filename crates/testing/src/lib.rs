//! What the tests of every crate share: seeded numbers and distances to a reference. A dev-dependency only.

mod allocations;
mod golden;
mod numbers;

pub use allocations::{Counter, last_request_bytes, requests};
pub use golden::{GOLDEN_CASES, GOLDEN_POLICY_CASE, Golden};
pub use numbers::{integers, relative_l2, uniform};
