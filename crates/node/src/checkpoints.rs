//! The exported functions on a run's checkpoints folder: find the newest good one, prune old ones. No policy is needed.

use crate::answer::promise;
use crate::fault::{Fault, Result};
use crate::outputs::NativeLatestCheckpoint;
use crate::reply::Ending;
use gradus_train::{latest_good, prune_checkpoints};
use napi::Env;
use napi::bindgen_prelude::{Object, ToNapiValue};
use napi_derive::napi;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// The newest checkpoint whose every file is as its manifest says; damaged newer ones are set aside.
#[napi(catch_unwind, ts_return_type = "Promise<NativeLatestCheckpoint>")]
pub fn latest_checkpoint(env: &Env, folder: String) -> napi::Result<Object<'_>> {
    aside(env, move || {
        let latest = latest_good(&PathBuf::from(folder))?;
        let checkpoint = latest.checkpoint;
        Ok(NativeLatestCheckpoint {
            step: checkpoint.as_ref().map(|found| found.manifest.step as f64),
            folder: checkpoint.map(|found| found.path.to_string_lossy().into_owned()),
            warnings: latest.warnings,
        })
    })
}

/// Removes all but the newest `keep_last` checkpoints and the protected steps, never the only good one; gives the removed steps.
#[napi(catch_unwind, ts_return_type = "Promise<Array<number>>")]
pub fn prune_checkpoints_of(
    env: &Env,
    folder: String,
    keep_last: u32,
    protected_steps: Vec<f64>,
) -> napi::Result<Object<'_>> {
    aside(env, move || {
        let protected: Vec<u64> = protected_steps.into_iter().map(|step| step as u64).collect();
        let removed = prune_checkpoints(&PathBuf::from(folder), keep_last as usize, &protected)?;
        Ok(removed.into_iter().map(|step| step as f64).collect::<Vec<_>>())
    })
}

/// Runs `work`, which reads whole checkpoints, on a thread of its own.
fn aside<T: ToNapiValue + Send + 'static>(
    env: &Env,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> napi::Result<Object<'_>> {
    let (reply, promise) = promise(env, &Ending::default(), |value: T| value)?;
    let body = move || {
        let done = catch_unwind(AssertUnwindSafe(work));
        reply.send(done.unwrap_or_else(|_| Err(Fault::internal("a panic; its message is on stderr"))));
    };
    std::thread::Builder::new()
        .name("gradus-checkpoints".to_string())
        .spawn(body)
        .map_err(|error| napi::Error::from_reason(format!("cannot start a thread: {error}")))?;
    Ok(promise)
}
