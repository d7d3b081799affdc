//! The exported functions that make a policy: each starts its engine thread and gives a promise of the handle.

use crate::answer::promise;
use crate::command::Command;
use crate::device::OpenDevice;
use crate::fault::{Fault, Result};
use crate::inputs::{NativePolicyOptions, seed_of};
use crate::load::{Placement, Source, describe, make_worker};
use crate::outputs::NativeEvent;
use crate::policy::{NativePolicy, Started};
use crate::reply::{Ending, Reply};
use crate::serve::{panic_message, serve};
use crate::worker::{EventSink, Worker};
use gradus_ops::{Backend, Precision};
use napi::bindgen_prelude::{BigInt, Object};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use napi::{Env, Status};
use napi_derive::napi;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

/// Calls JavaScript with the events of one scheduler step. Weak: it never keeps the process alive; pending promises do.
type EventListener = ThreadsafeFunction<Vec<NativeEvent>, (), Vec<NativeEvent>, Status, false, true>;

/// A policy of random weights from a config.json's text.
#[napi(
    catch_unwind,
    ts_args_type = "config: string, seed: bigint, tokenizer: string | null, options: NativePolicyOptions, listener: (events: Array<NativeEvent>) => void",
    ts_return_type = "Promise<NativePolicy>"
)]
pub fn create_policy(
    env: &Env,
    config: String,
    seed: BigInt,
    tokenizer: Option<String>,
    options: NativePolicyOptions,
    listener: EventListener,
) -> napi::Result<Object<'_>> {
    let source = Source::Config { json: config, seed: seed_of(&seed)?, tokenizer: tokenizer.map(PathBuf::from) };
    open(env, source, options, listener)
}

/// A policy from a Hugging Face folder.
#[napi(
    catch_unwind,
    ts_args_type = "folder: string, options: NativePolicyOptions, listener: (events: Array<NativeEvent>) => void",
    ts_return_type = "Promise<NativePolicy>"
)]
pub fn load_policy(
    env: &Env,
    folder: String,
    options: NativePolicyOptions,
    listener: EventListener,
) -> napi::Result<Object<'_>> {
    open(env, Source::Folder(PathBuf::from(folder)), options, listener)
}

/// A policy with its optimizer state from a `step-N` folder, or from the newest good one of a checkpoints folder.
#[napi(
    catch_unwind,
    ts_args_type = "checkpoint: string, options: NativePolicyOptions, listener: (events: Array<NativeEvent>) => void",
    ts_return_type = "Promise<NativePolicy>"
)]
pub fn resume_policy(
    env: &Env,
    checkpoint: String,
    options: NativePolicyOptions,
    listener: EventListener,
) -> napi::Result<Object<'_>> {
    open(env, Source::Checkpoint(PathBuf::from(checkpoint)), options, listener)
}

fn open(env: &Env, source: Source, options: NativePolicyOptions, listener: EventListener) -> napi::Result<Object<'_>> {
    let placement = Placement::try_from(options)?;
    let (commands, receiver) = channel();
    let ending = Ending::default();
    let handle_ending = ending.clone();
    let (ready, promise) = promise(env, &ending, move |started| NativePolicy::new(commands, handle_ending, started))?;
    let events: EventSink = Box::new(move |events| {
        // A listener that is gone (the process is ending) has no use for events.
        let _ = listener.call(events, ThreadsafeFunctionCallMode::NonBlocking);
    });
    std::thread::Builder::new()
        .name("gradus-engine".to_string())
        .spawn(move || run_engine(source, placement, events, ready, receiver, &ending))
        .map_err(|error| napi::Error::from_reason(format!("cannot start the engine thread: {error}")))?;
    Ok(promise)
}

/// The body of an engine thread; each arm is one backend.
fn run_engine(
    source: Source,
    placement: Placement,
    events: EventSink,
    ready: Reply<Started>,
    commands: Receiver<Command>,
    ending: &Ending,
) {
    // A GPU's driver may fail in any way: what goes wrong here ends this policy alone, as in `serve`.
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let (source, stored) = source.verify()?;
        let wanted = placement.precision.or(stored);
        let device = OpenDevice::open(&placement, wanted)?;
        Ok((source, wanted.unwrap_or(device.default_precision()), device))
    }));
    let opened = opened.unwrap_or_else(|panic| Err(Fault::internal(&panic_message(panic.as_ref()))));
    match opened {
        Err(fault) => ready.send(Err(fault)),
        Ok((source, precision, OpenDevice::Cpu(backend))) => {
            serve(|| start(source, &placement, precision, backend, events), ready, commands, ending);
        }
        Ok((source, precision, OpenDevice::Cuda(backend))) => {
            serve(|| start(source, &placement, precision, backend, events), ready, commands, ending);
        }
    }
}

/// The worker of a backend, and what is told of it.
fn start<B: Backend>(
    source: Source,
    placement: &Placement,
    precision: Precision,
    backend: Arc<B>,
    events: EventSink,
) -> Result<(Worker<B>, Started)> {
    let (worker, resumed) = make_worker(source, placement, precision, backend, events)?;
    let started = Started { info: describe(&worker), resumed, tokenizer: worker.tokenizer.clone() };
    Ok((worker, started))
}
