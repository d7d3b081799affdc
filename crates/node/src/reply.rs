//! One answer to one call: given once, and given even when the engine thread stops without it.

use crate::fault::{Fault, Result};
use std::sync::{Arc, OnceLock};

/// Why a policy can no longer answer, as its engine thread left it; unset while it runs or after a clean close.
pub type Ending = Arc<OnceLock<Fault>>;

/// The way back to the caller. Dropped unanswered (close, panic), it rejects with the reason.
pub struct Reply<T> {
    answer: Option<Box<dyn FnOnce(Result<T>) + Send>>,
    ending: Ending,
}

impl<T> Reply<T> {
    pub fn new(ending: &Ending, answer: impl FnOnce(Result<T>) + Send + 'static) -> Self {
        Self { answer: Some(Box::new(answer)), ending: ending.clone() }
    }

    pub fn send(mut self, result: Result<T>) {
        if let Some(answer) = self.answer.take() {
            answer(result);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let fault = match self.ending.get() {
            Some(fault) => fault.clone(),
            None if std::thread::panicking() => Fault::internal("a panic; its message is on stderr"),
            None => Fault::closed(),
        };
        answer(Err(fault));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn an_answer_is_given_once() {
        let (sender, receiver) = mpsc::channel();
        Reply::new(&Ending::default(), move |result| sender.send(result).unwrap()).send(Ok(7));
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [Ok(7)]);
    }

    #[test]
    fn a_dropped_reply_says_closed_or_the_fault() {
        let (sender, receiver) = mpsc::channel();
        let ending = Ending::default();
        let reply = |sender: mpsc::Sender<Result<()>>| Reply::new(&ending, move |result| sender.send(result).unwrap());
        drop(reply(sender.clone()));
        assert_eq!(receiver.recv().unwrap().unwrap_err().code, "closed");
        ending.set(Fault::internal("planted")).unwrap();
        drop(reply(sender));
        assert_eq!(receiver.recv().unwrap().unwrap_err().code, "internal");
    }

    #[test]
    fn a_reply_lost_in_a_panic_says_internal() {
        let (sender, receiver) = mpsc::channel();
        let reply: Reply<()> = Reply::new(&Ending::default(), move |result| sender.send(result).unwrap());
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _lost = reply;
            panic!("planted");
        }));
        assert!(caught.is_err());
        assert_eq!(receiver.recv().unwrap().unwrap_err().code, "internal");
    }
}
