//! The binding: JavaScript values in, commands to one engine thread a policy, promises and events out. No logic of its own.
//!
//! Rules: every export is `catch_unwind`; long work runs on the engine thread and answers through a deferred,
//! never an `AsyncTask`; a caught panic rejects with `internal` and ends that policy alone.

// In the test build napi-derive registers no exports, and all that they alone use looks dead.
#![cfg_attr(test, allow(dead_code))]
// napi hands arguments to exported functions by value.
#![allow(clippy::needless_pass_by_value)]

mod answer;
mod batch;
mod batch_data;
mod call;
mod checkpoints;
mod command;
mod device;
mod fault;
mod generation;
mod inputs;
mod load;
mod memory;
mod open;
mod outputs;
mod policy;
mod record;
mod reply;
mod response;
mod save;
mod serve;
mod worker;
