//! The engine thread of one policy: takes commands, and between them lets the running calls sample one token each.

use crate::command::Command;
use crate::fault::{Fault, Result};
use crate::reply::{Ending, Reply};
use crate::worker::Worker;
use gradus_ops::Backend;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError};

/// Makes the worker on this thread, answers `ready` with what was told of it, and serves until close, loss of all handles, or a panic.
///
/// A panic is caught here: it ends this policy alone, and every waiting and later call is answered with `internal`.
pub fn serve<B: Backend, Started: Send + 'static>(
    start: impl FnOnce() -> Result<(Worker<B>, Started)>,
    ready: Reply<Started>,
    commands: Receiver<Command>,
    ending: &Ending,
) {
    let served = catch_unwind(AssertUnwindSafe(|| match start() {
        Ok((mut worker, started)) => {
            ready.send(Ok(started));
            run(&mut worker, &commands)
        }
        Err(fault) => {
            ready.send(Err(fault));
            None
        }
    }));
    // By now the worker is dropped: the memory is free and every open call has its answer.
    let closing = served.unwrap_or_else(|panic| {
        // Set once: nobody else writes it.
        let _ = ending.set(Fault::internal(&panic_message(panic.as_ref())));
        None
    });
    drop(commands);
    if let Some(reply) = closing {
        reply.send(Ok(()));
    }
}

/// Gives the reply of the close command; None when every handle is gone.
fn run<B: Backend>(worker: &mut Worker<B>, commands: &Receiver<Command>) -> Option<Reply<()>> {
    loop {
        let command = if worker.is_idle() {
            commands.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            commands.try_recv()
        };
        match command {
            Ok(Command::Close(reply)) => return Some(reply),
            Ok(command) => worker.handle(command),
            Err(TryRecvError::Empty) => worker.generate(),
            Err(TryRecvError::Disconnected) => return None,
        }
    }
}

/// What a caught panic said.
pub fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic without a message".to_string())
}
