//! From an engine thread's answer to a JavaScript promise.

use crate::fault::Result;
use crate::reply::{Ending, Reply};
use napi::Env;
use napi::bindgen_prelude::{Object, ToNapiValue};

type Resolver<J> = Box<dyn FnOnce(Env) -> napi::Result<J> + Send>;

/// A promise, and the reply that settles it from any thread. `convert` runs on the JavaScript thread.
pub fn promise<'env, T, J>(
    env: &'env Env,
    ending: &Ending,
    convert: impl FnOnce(T) -> J + Send + 'static,
) -> napi::Result<(Reply<T>, Object<'env>)>
where
    T: Send + 'static,
    J: ToNapiValue + 'static,
{
    let (deferred, promise) = env.create_deferred::<J, Resolver<J>>()?;
    let reply = Reply::new(ending, move |result: Result<T>| match result {
        Ok(value) => deferred.resolve(Box::new(move |_| Ok(convert(value)))),
        Err(fault) => deferred.reject(fault.into()),
    });
    Ok((reply, promise))
}
