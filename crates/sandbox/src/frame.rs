//! Frames of protocol 1 between the client and the daemon: two lengths, a JSON header, a body of blobs.
//! First stage of the daemon; `request` reads what a header says.

use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// Most bytes of a header.
pub const HEADER_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a body.
pub const BODY_BYTES_MAX: usize = 256 << 20;
const LENGTHS_BYTES: usize = 8;

/// One frame: the header without its `blobs`, and the blobs themselves.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub header: Map<String, Value>,
    pub blobs: Vec<Vec<u8>>,
}

/// The bytes of a frame; `header` gets the field `blobs` with the lengths.
pub fn encode(mut header: Map<String, Value>, blobs: &[&[u8]]) -> Vec<u8> {
    if !blobs.is_empty() {
        header.insert("blobs".into(), blobs.iter().map(|blob| Value::from(blob.len())).collect());
    }
    let header = Value::Object(header).to_string();
    let body_bytes: usize = blobs.iter().map(|blob| blob.len()).sum();
    let mut bytes = Vec::with_capacity(LENGTHS_BYTES + header.len() + body_bytes);
    bytes.extend_from_slice(&(header.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&(body_bytes as u32).to_le_bytes());
    bytes.extend_from_slice(header.as_bytes());
    for blob in blobs {
        bytes.extend_from_slice(blob);
    }
    bytes
}

/// Collects bytes as they arrive and gives whole frames back.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Adds bytes that arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// True if the stream may end here, that is between two frames.
    pub fn is_between_frames(&self) -> bool {
        self.pending.is_empty()
    }

    /// The next whole frame, `None` while it is still arriving. The lengths are checked as soon as they are there.
    pub fn next_frame(&mut self) -> Result<Option<Frame>> {
        let Some((lengths, rest)) = self.pending.split_first_chunk::<LENGTHS_BYTES>() else { return Ok(None) };
        let [h0, h1, h2, h3, b0, b1, b2, b3] = *lengths;
        let header_bytes = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
        let body_bytes = u32::from_le_bytes([b0, b1, b2, b3]) as usize;
        if header_bytes > HEADER_BYTES_MAX || body_bytes > BODY_BYTES_MAX {
            return Err(Error::Frame(format!(
                "header of {header_bytes} and body of {body_bytes} bytes, at most {HEADER_BYTES_MAX} and {BODY_BYTES_MAX}"
            )));
        }
        if rest.len() < header_bytes + body_bytes {
            return Ok(None);
        }
        let (header, rest) = rest.split_at(header_bytes);
        let frame = parse(header, &rest[..body_bytes])?;
        self.pending.drain(..LENGTHS_BYTES + header_bytes + body_bytes);
        Ok(Some(frame))
    }
}

fn parse(header: &[u8], body: &[u8]) -> Result<Frame> {
    let value: Value =
        serde_json::from_slice(header).map_err(|error| Error::Frame(format!("the header is not JSON: {error}")))?;
    let Value::Object(mut header) = value else {
        return Err(Error::Frame("the header is not a JSON object".into()));
    };
    let lengths = match header.remove("blobs") {
        None => Vec::new(),
        Some(Value::Array(lengths)) => lengths,
        Some(_) => return Err(Error::Frame("blobs is not a list of lengths".into())),
    };
    let mut rest = body;
    let mut blobs = Vec::with_capacity(lengths.len().min(16));
    for length in &lengths {
        let length = length.as_u64().and_then(|length| usize::try_from(length).ok());
        let Some((blob, after)) = length.and_then(|length| rest.split_at_checked(length)) else {
            return Err(Error::Frame(format!("blobs {lengths:?} do not fit a body of {} bytes", body.len())));
        };
        blobs.push(blob.to_vec());
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Error::Frame(format!("{} bytes of the body belong to no blob", rest.len())));
    }
    Ok(Frame { header, blobs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn frames_survive_any_split() {
        let header = object(json!({"type": "run", "id": 7}));
        let bytes = encode(header.clone(), &[b"print(1)", b"", b"\0\xff"]);
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            decoder.push(&bytes[..cut]);
            assert_eq!(decoder.next_frame().unwrap(), None, "cut at {cut}");
            decoder.push(&bytes[cut..]);
            decoder.push(&bytes);
            for _ in 0..2 {
                let frame = decoder.next_frame().unwrap().unwrap();
                assert_eq!(frame.header, header);
                assert_eq!(frame.blobs, [b"print(1)".to_vec(), vec![], b"\0\xff".to_vec()]);
            }
            assert!(decoder.is_between_frames());
        }
    }

    #[test]
    fn broken_frames_are_refused() {
        let broken: [Vec<u8>; 6] = [
            [(HEADER_BYTES_MAX as u32 + 1).to_le_bytes(), 0u32.to_le_bytes()].concat(),
            [2u32.to_le_bytes(), (BODY_BYTES_MAX as u32 + 1).to_le_bytes()].concat(),
            [&2u32.to_le_bytes()[..], &0u32.to_le_bytes(), b"[]"].concat(),
            [&2u32.to_le_bytes()[..], &0u32.to_le_bytes(), b"{x"].concat(),
            [&2u32.to_le_bytes()[..], &1u32.to_le_bytes(), b"{}x"].concat(),
            [&13u32.to_le_bytes()[..], &1u32.to_le_bytes(), b"{\"blobs\":[2]}x"].concat(),
        ];
        for bytes in broken {
            let mut decoder = Decoder::default();
            decoder.push(&bytes);
            assert!(decoder.next_frame().is_err(), "{bytes:?}");
        }
    }
}
