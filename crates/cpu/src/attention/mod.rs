//! Causal attention with grouped queries: packed training forward and backward, and the paged cache of inference.
//!
//! Training packs its keys and values into pages first, so that one function attends in training, prefill and decode.

mod backward;
mod forward;
mod packed;
mod paged;
mod pages;
mod panel;
mod product;
mod registers;
mod scratch;
mod sequences;
mod state;
mod transpose;

pub(crate) use backward::attention_backward;
pub(crate) use packed::attention;
pub(crate) use paged::paged_attention;
pub(crate) use pages::{kv_append, kv_copy_page};

use gradus_ops::{AttentionShape, Error, Result};

/// Query rows (tokens times heads of one group) that walk the key blocks together, and whose data stay in the cache.
const ROWS_OF_TASK: usize = 64;
const HEAD_DIM_MAX: usize = 256;

/// Query heads of one key and value head.
fn group_size(shape: AttentionShape) -> usize {
    shape.heads / shape.kv_heads
}

/// Tokens whose query rows of one group fill a task.
fn tokens_of_task(shape: AttentionShape) -> usize {
    (ROWS_OF_TASK / group_size(shape)).max(1)
}

/// An error unless heads divide into groups and the head size is one that the kernels take.
fn check_heads(op: &'static str, shape: AttentionShape) -> Result<()> {
    let AttentionShape { heads, kv_heads, head_dim } = shape;
    if heads == 0 || kv_heads == 0 || heads % kv_heads != 0 {
        let reason = format!("{heads} heads do not divide into groups of {kv_heads} key and value heads");
        return Err(Error::Invalid { op, reason });
    }
    if head_dim == 0 || head_dim % 8 != 0 || head_dim > HEAD_DIM_MAX {
        let reason = format!("head_dim is {head_dim}, expected a multiple of 8 up to {HEAD_DIM_MAX}");
        return Err(Error::Invalid { op, reason });
    }
    Ok(())
}
