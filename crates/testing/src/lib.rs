//! What the tests of every crate share: seeded numbers, distances to a reference, bodies for every backend. A dev-dependency only.

mod allocations;
mod golden;
mod matmul_body;
mod numbers;
pub mod on_backend;

pub use allocations::{Counter, last_request_bytes, requests};
pub use golden::{GOLDEN_CASES, GOLDEN_POLICY_CASE, Golden};
pub use matmul_body::{MatmulResults, check_bf16_matmul};
pub use numbers::{integers, relative_l2, uniform};
