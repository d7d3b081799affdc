//! Products with a tile of one's choice and their sums split over blocks: what the numerics contract forbids, for the benchmark of its cost.

use crate::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Call;
use crate::driver::Address;
use crate::kernels::{
    GEMM_DECODE_16X32_BF16, GEMM_DECODE_64X32_BF16, GEMM_FORWARD_128X128_BF16, GEMM_SPLIT_16X32, GEMM_SPLIT_64X32,
    GEMM_SPLIT_128X128, GEMM_SUM_PARTS, GemmForwardParams, GemmSumPartsParams, Kernel,
};
use crate::scratch::scratch;
use crate::weight::Weight;
use gradus_ops::{Error, Precision, Result};
use gradus_tensor::DType;

const OP: &str = "matmul_split";
/// Indices of the sum that a part has a multiple of.
const PART_STEP: usize = 128;

/// The results that one block computes, of weight rows and tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tile {
    Narrow16x32,
    Broad64x32,
    Square128x128,
}

impl Tile {
    pub const ALL: [Tile; 3] = [Tile::Narrow16x32, Tile::Broad64x32, Tile::Square128x128];

    /// The kernel that writes bf16 sums whole, and the one that writes f32 parts.
    fn kernels(self) -> [&'static Kernel<GemmForwardParams>; 2] {
        match self {
            Tile::Narrow16x32 => [&GEMM_DECODE_16X32_BF16, &GEMM_SPLIT_16X32],
            Tile::Broad64x32 => [&GEMM_DECODE_64X32_BF16, &GEMM_SPLIT_64X32],
            Tile::Square128x128 => [&GEMM_FORWARD_128X128_BF16, &GEMM_SPLIT_128X128],
        }
    }

    fn blocks(self, m: u32, n: u32, parts: u32) -> [u32; 3] {
        match self {
            Tile::Narrow16x32 => [n.div_ceil(16), m.div_ceil(32), parts],
            Tile::Broad64x32 => [n.div_ceil(64), m.div_ceil(32), parts],
            Tile::Square128x128 => [m.div_ceil(128) * n.div_ceil(128), 1, parts],
        }
    }
}

impl CudaBackend {
    /// y[m, n] = x[m, k] · weightᵀ in bf16, by `tile`, the sum over k cut in `parts` that blocks compute side by side. With one part the bits are
    /// those of `matmul`; with more they are not, and no policy may be computed so.
    pub fn matmul_split(
        &self,
        x: &Buffer,
        m: usize,
        weight: &Weight,
        y: &mut Buffer,
        tile: Tile,
        parts: usize,
    ) -> Result<()> {
        let (n, k) = (weight.rows(), weight.cols());
        let call = Call { op: OP, shape: format_args!("[m {m}, n {n}, k {k}, {parts} parts]") };
        let part = k.div_ceil(parts.max(1)).next_multiple_of(PART_STEP);
        if parts == 0 || (parts - 1) * part >= k {
            let reason = format!("{parts} parts of a sum of {k}: each takes a multiple of {PART_STEP} and needs some");
            return Err(Error::Invalid { op: OP, reason });
        }
        let y = y.address_mut(OP, "y", DType::BF16, m * n)?;
        let weight_address = weight.address(OP, "weight", (n, k), Precision::Bf16)?;
        let mut scratch = scratch(self);
        let x = scratch.operand(self, call, 0, ("x", x), (m, k))?;
        let sums = if parts == 1 { y } else { scratch.partials(self, parts * m * n * DType::F32.bytes())? };
        let params = GemmForwardParams {
            x: x.address,
            weight: weight_address,
            bias: Address::NONE,
            y: sums,
            m: m as u32,
            n: n as u32,
            k: k as u32,
            ld_x: x.stride,
            ld_weight: weight.stride() as u32,
            ld_y: n as u32,
        };
        let [whole, split] = tile.kernels();
        let kernel = if parts == 1 { whole } else { split };
        // SAFETY: the lengths of x and y were checked against m, n and k; the parts have room for m · n sums each.
        unsafe { self.launch(call, kernel, tile.blocks(params.m, params.n, parts as u32), &params)? };
        if parts == 1 {
            return Ok(());
        }
        let elements = (m * n) as u64;
        let params = GemmSumPartsParams { parts: sums, y, elements, count: parts as u32, unused: 0 };
        let blocks = (m * n).div_ceil(GEMM_SUM_PARTS.threads as usize) as u32;
        // SAFETY: as above.
        unsafe { self.launch(call, &GEMM_SUM_PARTS, [blocks, 1, 1], &params) }
    }
}
