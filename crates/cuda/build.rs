//! Embeds the kernel pack that scripts/kernels.ts has made; without one the library computes on the CPU alone and says so.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let manifest = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    let folder = Path::new(&manifest).join("../../build/kernel-pack");
    // cargo watches a folder that is there, and runs this at every build where it is not; in a tree that cannot be written it may.
    if fs::create_dir_all(&folder).is_ok() {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let pack = match fs::read(folder.join("gradus.kernels")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        found => found?,
    };
    fs::write(Path::new(&out).join("gradus.kernels"), pack)
}
