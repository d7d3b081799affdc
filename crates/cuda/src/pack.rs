//! The kernel pack: every compiled kernel file for every architecture, in one file that scripts/kernel-pack.ts writes.
//!
//! ```text
//! 0..8    "GRADUSK1"
//! 8..16   length of the header, u64, little-endian
//! header  JSON: {"compiler": "13.0.88", "sources": "hash of what was compiled", "modules": [{"name": "gemm/matmul", "arch": "sm_90a", "kernels": ["…"],
//!         "offset": 0, "bytes": 1234, "sha256": "…"}]}
//! images  one after another; offsets count from the end of the header
//! ```
//!
//! An arch "sm_…" holds a cubin, "compute_…" PTX for chips that are newer than this build. No bytes at all are the pack of a build without
//! nvcc. `GRADUS_KERNELS=<file>` takes the place of the embedded pack.

use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::path::PathBuf;

const MAGIC: &[u8; 8] = b"GRADUSK1";
static EMBEDDED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/gradus.kernels"));

/// Names another pack.
pub const PACK_VARIABLE: &str = "GRADUS_KERNELS";

/// Why a pack cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error("cannot read the kernel pack {path} that {PACK_VARIABLE} names: {source}", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "the kernel pack {from} is damaged: {reason}; make it again with `bun scripts/kernels.ts`, or unset {PACK_VARIABLE}"
    )]
    Damaged { from: String, reason: String },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    compiler: String,
    /// For the scripts, which compile again what has changed.
    #[serde(rename = "sources")]
    _sources: String,
    modules: Vec<Module>,
}

/// One kernel file, compiled for one architecture.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its path below kernels/, without ".cu".
    pub name: String,
    pub arch: String,
    /// Entry points.
    pub kernels: Vec<String>,
    offset: usize,
    bytes: usize,
    sha256: String,
}

/// Every module of a build, checked.
#[derive(Debug)]
pub struct KernelPack {
    /// "embedded", or the file.
    pub from: String,
    /// Version of nvcc; empty in an empty pack.
    pub compiler: String,
    pub modules: Vec<Module>,
    images: Cow<'static, [u8]>,
}

impl KernelPack {
    /// The pack that `GRADUS_KERNELS` names, else the embedded one.
    pub fn open() -> Result<KernelPack, PackError> {
        match std::env::var_os(PACK_VARIABLE) {
            None => KernelPack::parse("embedded".to_owned(), Cow::Borrowed(EMBEDDED)),
            Some(path) => {
                let path = PathBuf::from(path);
                let bytes = std::fs::read(&path).map_err(|source| PackError::Read { path: path.clone(), source })?;
                KernelPack::parse(path.display().to_string(), Cow::Owned(bytes))
            }
        }
    }

    /// Reads a pack; `from` names it in errors.
    pub fn parse(from: String, bytes: Cow<'static, [u8]>) -> Result<KernelPack, PackError> {
        if bytes.is_empty() {
            return Ok(KernelPack { from, compiler: String::new(), modules: Vec::new(), images: bytes });
        }
        let damaged = |reason: String| PackError::Damaged { from: from.clone(), reason };
        let (start, rest) = bytes.split_at_checked(16).ok_or_else(|| damaged("it is too short".to_owned()))?;
        if &start[..8] != MAGIC {
            return Err(damaged("it does not begin with GRADUSK1".to_owned()));
        }
        let length = start[8..].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (header, images) =
            rest.split_at_checked(length).ok_or_else(|| damaged("it ends within its header".to_owned()))?;
        let Header { compiler, modules, .. } =
            serde_json::from_slice(header).map_err(|error| damaged(format!("its header: {error}")))?;
        for module in &modules {
            let Module { name, arch, .. } = module;
            let image = image(images, module).ok_or_else(|| damaged(format!("it ends within {name} for {arch}")))?;
            if hex(&Sha256::digest(image)) != module.sha256 {
                return Err(damaged(format!("{name} for {arch} is not what was compiled")));
            }
        }
        let images = match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[16 + length..]),
            Cow::Owned(mut bytes) => {
                bytes.drain(..16 + length);
                Cow::Owned(bytes)
            }
        };
        Ok(KernelPack { from, compiler, modules, images })
    }

    /// Architectures of the pack, sorted.
    pub fn archs(&self) -> Vec<&str> {
        let mut archs: Vec<&str> = self.modules.iter().map(|module| module.arch.as_str()).collect();
        archs.sort_unstable();
        archs.dedup();
        archs
    }

    /// The module with `kernel` for a chip: its own cubin, else one for an older chip of the same generation, else PTX, which the driver compiles.
    pub fn find(&self, kernel: &str, compute_capability: (u32, u32)) -> Option<&Module> {
        let modules = || self.modules.iter().filter(|module| module.kernels.iter().any(|name| name == kernel));
        archs_of(compute_capability).iter().find_map(|arch| modules().find(|module| module.arch == *arch))
    }

    /// The bytes that the driver loads; PTX ends in a zero.
    pub fn image(&self, module: &Module) -> Vec<u8> {
        let mut bytes = image(&self.images, module).unwrap_or_default().to_vec();
        if module.arch.starts_with("compute_") {
            bytes.push(0);
        }
        bytes
    }
}

/// Architectures that run on a chip, the best first.
fn archs_of((major, _): (u32, u32)) -> &'static [&'static str] {
    match major {
        8 => &["sm_80", "compute_80"],
        9 => &["sm_90a", "compute_80"],
        10.. => &["compute_80"],
        _ => &[],
    }
}

fn image<'a>(images: &'a [u8], module: &Module) -> Option<&'a [u8]> {
    images.get(module.offset..module.offset.checked_add(module.bytes)?)
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[digit as usize]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(images: &[(&str, &str, &[u8])]) -> Vec<u8> {
        let mut modules = Vec::new();
        let mut body = Vec::new();
        for (name, arch, image) in images {
            let sha256 = hex(&Sha256::digest(image));
            modules.push(serde_json::json!({
                "name": name, "arch": arch, "kernels": [name.replace('/', "_")],
                "offset": body.len(), "bytes": image.len(), "sha256": sha256,
            }));
            body.extend_from_slice(image);
        }
        let header = serde_json::json!({ "compiler": "13.0.88", "sources": "00", "modules": modules }).to_string();
        [MAGIC.as_slice(), &(header.len() as u64).to_le_bytes(), header.as_bytes(), &body].concat()
    }

    fn parse(bytes: Vec<u8>) -> Result<KernelPack, PackError> {
        KernelPack::parse("test".to_owned(), Cow::Owned(bytes))
    }

    const IMAGES: [(&str, &str, &[u8]); 4] = [
        ("copy/add", "sm_80", b"ampere"),
        ("copy/add", "sm_90a", b"hopper"),
        ("copy/add", "compute_80", b".ptx"),
        ("gemm/wgmma", "sm_90a", b"wgmma"),
    ];

    #[test]
    fn every_chip_gets_the_best_image_there_is() {
        let pack = parse(pack(&IMAGES)).unwrap();
        assert_eq!((pack.compiler.as_str(), pack.archs()), ("13.0.88", vec!["compute_80", "sm_80", "sm_90a"]));
        let image = |kernel, chip| pack.find(kernel, chip).map(|module| pack.image(module));
        for (chip, expected) in [((8, 0), "ampere"), ((8, 9), "ampere"), ((9, 0), "hopper"), ((12, 0), ".ptx\0")] {
            assert_eq!(image("copy_add", chip).as_deref(), Some(expected.as_bytes()), "{chip:?}");
        }
        assert_eq!(image("copy_add", (7, 5)), None);
        assert_eq!(image("gemm_wgmma", (8, 0)), None);
        assert_eq!(image("gemm_none", (9, 0)), None);
    }

    #[test]
    fn no_bytes_are_the_pack_of_a_build_without_nvcc() {
        let pack = parse(Vec::new()).unwrap();
        assert!(pack.modules.is_empty() && pack.archs().is_empty());
    }

    #[test]
    fn a_damaged_pack_is_refused_with_the_place() {
        let whole = pack(&IMAGES);
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let cases = [
            (flipped, "gemm/wgmma for sm_90a is not what was compiled"),
            (whole[..whole.len() - 1].to_vec(), "it ends within gemm/wgmma for sm_90a"),
            (whole[..40].to_vec(), "it ends within its header"),
            (whole[..9].to_vec(), "it is too short"),
            ([b"GRADUSK2".as_slice(), &whole[8..]].concat(), "does not begin with GRADUSK1"),
            (pack(&[]).into_iter().map(|byte| if byte == b'{' { b'[' } else { byte }).collect(), "its header:"),
        ];
        for (bytes, expected) in cases {
            let message = parse(bytes).unwrap_err().to_string();
            assert!(message.contains(expected) && message.contains("scripts/kernels.ts"), "{message}");
        }
    }
}
