//! The sandbox: runs untrusted Python programs, one process a test, behind namespaces, seccomp, Landlock, limits and
//! (in tier A) a cgroup. `gradus-sandboxd` is this library behind frames on stdin and stdout; the rewards package
//! drives it and compares the output, so that no expected output ever enters.
//!
//! Reading order: `request` and `frame` (what comes in), `supervisor` (the one loop), `worker` and `execution` (one
//! test), `pipes`, `process_tree`, `outcome` (what it prints, what it uses, how it ends), `outgoing` (what goes out),
//! `interpreter` (which Python), `spawn`, `rootfs`, `zygote` (the world a test sees), `seccomp`, `landlock_wall`,
//! `cgroup` (its walls), `probe` (which walls hold here).
#![cfg(target_os = "linux")]

pub mod cgroup;
pub mod error;
pub mod execution;
pub mod frame;
pub mod interpreter;
pub mod landlock_wall;
pub mod outcome;
pub mod outgoing;
pub mod pipes;
pub mod probe;
pub mod process_tree;
pub mod request;
pub mod rootfs;
pub mod seccomp;
pub mod spawn;
pub mod supervisor;
pub mod worker;
pub mod zygote;
