//! Several short lists in one transfer, as a step of generation has them: on the device they lie one after another in scratch memory, and one
//! launch moves them to, or from, the buffers that ops know. A transfer costs the host what a launch does, whatever its size.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::driver::Address;
use crate::kernels::{MOVE_WORDS, MoveWordsParams};
use crate::scratch::scratch;
use gradus_ops::{Result, Words, WordsMut};
use gradus_tensor::DType;

/// Lists of one launch.
const LISTS_MAX: usize = 16;
const WORD_BYTES: usize = 4;

/// Copies each list to the beginning of its buffer.
pub(crate) fn write_all(backend: &CudaBackend, lists: &mut [(&mut Buffer, Words<'_>)]) -> Result<()> {
    const OP: &str = "write_all";
    let mut scratch = scratch(backend);
    for lists in lists.chunks_mut(LISTS_MAX) {
        let (mut moves, mut host) = (Moves::default(), std::mem::take(&mut scratch.host));
        host.clear();
        for (dst, list) in lists {
            let (dtype, bytes): (DType, &[u8]) = match list {
                Words::U32(src) => (DType::U32, bytemuck::cast_slice(src)),
                Words::F32(src) => (DType::F32, bytemuck::cast_slice(src)),
            };
            moves.push(dst.address_mut(OP, "dst", dtype, bytes.len() / WORD_BYTES)?, bytes.len());
            host.extend_from_slice(bytes);
        }
        let memory = scratch.transfer(backend, host.len())?;
        memory.write(OP, 0, &host)?;
        let from = memory.address();
        scratch.host = host;
        moves.launch(backend, OP, from, |scratch, buffer| (scratch, buffer))?;
    }
    Ok(())
}

/// Copies the beginning of each buffer to its list, and waits once.
pub(crate) fn read_all(backend: &CudaBackend, lists: &mut [(&Buffer, WordsMut<'_>)]) -> Result<()> {
    const OP: &str = "read_all";
    let mut scratch = scratch(backend);
    for lists in lists.chunks_mut(LISTS_MAX) {
        let mut moves = Moves::default();
        for (src, list) in &*lists {
            let (dtype, len) = match list {
                WordsMut::U32(dst) => (DType::U32, dst.len()),
                WordsMut::F32(dst) => (DType::F32, dst.len()),
            };
            moves.push(src.address(OP, "src", dtype, len)?, len * WORD_BYTES);
        }
        let mut host = std::mem::take(&mut scratch.host);
        host.resize(moves.bytes, 0);
        let memory = scratch.transfer(backend, host.len())?;
        moves.launch(backend, OP, memory.address(), |scratch, buffer| (buffer, scratch))?;
        memory.read(OP, 0, &mut host)?;
        let mut rest = host.as_slice();
        for (_, list) in lists {
            let dst: &mut [u8] = match list {
                WordsMut::U32(dst) => bytemuck::cast_slice_mut(dst),
                WordsMut::F32(dst) => bytemuck::cast_slice_mut(dst),
            };
            let (bytes, later) = rest.split_at(dst.len());
            dst.copy_from_slice(bytes);
            rest = later;
        }
        scratch.host = host;
    }
    Ok(())
}

/// The buffers of one transfer, and how many bytes of each.
#[derive(Default)]
struct Moves {
    buffers: [(Address, usize); LISTS_MAX],
    count: usize,
    bytes: usize,
}

impl Moves {
    fn push(&mut self, buffer: Address, bytes: usize) {
        self.buffers[self.count] = (buffer, bytes);
        self.count += 1;
        self.bytes += bytes;
    }

    /// Moves all between the buffers and `scratch`; `direct` puts (place in scratch, buffer) in the order (from, to).
    fn launch(
        &self,
        backend: &CudaBackend,
        op: &'static str,
        scratch: Address,
        direct: impl Fn(Address, Address) -> (Address, Address),
    ) -> Result<()> {
        let none = [Address::NONE; LISTS_MAX];
        let mut params = MoveWordsParams { from: none, to: none, words: [0; LISTS_MAX] };
        let mut offset = 0;
        for (index, &(buffer, bytes)) in self.buffers[..self.count].iter().enumerate() {
            (params.from[index], params.to[index]) = direct(scratch.offset(offset), buffer);
            params.words[index] = (bytes / WORD_BYTES) as u32;
            offset += bytes;
        }
        let longest = params.words.iter().copied().max().unwrap_or(0);
        let call = Call { op, shape: format_args!("[{} lists, {} bytes]", self.count, self.bytes) };
        let blocks = [longest.div_ceil(MOVE_WORDS.threads), self.count as u32, 1];
        // SAFETY: the lengths of the buffers were checked, and the scratch has room for all.
        unsafe { backend.launch(call, &MOVE_WORDS, blocks, &params) }
    }
}
