//! Random streams: every random number of a run belongs to a purpose and a place in the run, never to a batch.
//!
//! The seed is the Philox key; the stream number made here is half of its counter.

/// The first 64 bits of BLAKE3 over the fields, each behind its length so that no two lists of fields meet.
///
/// `prompt` is the prompt's id or its token ids in little-endian bytes; fields without meaning for a purpose are 0 or
/// empty.
pub fn stream(purpose: &str, stage: u64, step: u64, prompt: &[u8], rollout: u64, attempt: u64) -> u64 {
    let (stage, step) = (stage.to_le_bytes(), step.to_le_bytes());
    let (rollout, attempt) = (rollout.to_le_bytes(), attempt.to_le_bytes());
    let mut hasher = blake3::Hasher::new();
    for field in [purpose.as_bytes(), &stage, &step, prompt, &rollout, &attempt] {
        hasher.update(&(field.len() as u64).to_le_bytes());
        hasher.update(field);
    }
    let mut first = [0; 8];
    first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::stream;

    #[test]
    fn a_stream_depends_on_every_field_and_on_their_borders() {
        let base = stream("rollout", 1, 2, b"ab", 3, 4);
        assert_eq!(base, stream("rollout", 1, 2, b"ab", 3, 4));
        let others = [
            stream("eval", 1, 2, b"ab", 3, 4),
            stream("rollout", 2, 2, b"ab", 3, 4),
            stream("rollout", 1, 3, b"ab", 3, 4),
            stream("rollout", 1, 2, b"abc", 3, 4),
            stream("rollout", 1, 2, b"ab", 4, 4),
            stream("rollout", 1, 2, b"ab", 3, 5),
            stream("rollout", 3, 2, b"ab", 1, 4),
        ];
        assert!(others.iter().all(|other| *other != base), "{others:?} contain {base}");
    }

    #[test]
    fn a_stream_stays_the_same_over_versions() {
        assert_eq!(stream("init", 0, 0, b"model.norm.weight", 0, 0), PINNED);
        assert_eq!(stream("shuffle", 1, 2, b"ab", 3, 4), PINNED_SHUFFLE);
    }

    /// Computed once, and the same in packages/data/src/stream.test.ts: a changed encoding would give other random
    /// numbers to every recorded run.
    const PINNED: u64 = 9_449_252_766_530_782_490;
    const PINNED_SHUFFLE: u64 = 13_901_331_184_711_009_121;
}
