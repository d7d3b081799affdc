//! Files that appear whole or not at all: written beside their final place, synced, renamed.
//!
//! Every file of weights, moments or manifest goes to disk through [`DurableFile`].

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// A file being written at a temporary name beside `path`; dropped before [`DurableFile::commit`], it leaves nothing behind.
pub struct DurableFile {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    bytes_needed: u64,
    committed: bool,
}

impl DurableFile {
    /// Opens the temporary file `.<name>.tmp-<pid>`; `bytes_needed` is the final size, named when the disk is full.
    pub fn create(path: &Path, bytes_needed: u64) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.tmp-{}", std::process::id()));
        let file = File::create(&temporary).map_err(|source| write_error("create", path, bytes_needed, source))?;
        Ok(Self { file, path: path.to_owned(), temporary, bytes_needed, committed: false })
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| write_error("write", &self.path, self.bytes_needed, source))
    }

    /// Syncs the file, gives it its final name (replacing an older file) and syncs the folder.
    pub fn commit(mut self) -> Result<()> {
        self.file.sync_all().map_err(|source| write_error("sync", &self.path, self.bytes_needed, source))?;
        fs::rename(&self.temporary, &self.path).map_err(|source| Error::Io {
            action: "rename a temporary file to",
            path: self.path.clone(),
            source,
        })?;
        self.committed = true;
        sync_folder(folder_of(&self.path))
    }
}

impl Drop for DurableFile {
    fn drop(&mut self) {
        if !self.committed {
            // The error that brought us here is already on its way to the caller; a leftover is cleaned at the next save.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a whole small file durably.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = DurableFile::create(path, bytes.len() as u64)?;
    file.write_all(bytes)?;
    file.commit()
}

/// Makes the names in `folder` survive a power failure.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|handle| handle.sync_all()).map_err(|source| Error::Io {
        action: "sync the folder",
        path: folder.to_owned(),
        source,
    })
}

/// Bytes that this user may still write to the file system of `folder`.
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let error = |source| Error::Io { action: "read the free space of", path: folder.to_owned(), source };
    let name = std::ffi::CString::new(folder.as_os_str().as_bytes())
        .map_err(|_| error(std::io::Error::from(ErrorKind::InvalidInput)))?;
    let mut status = std::mem::MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `name` is a NUL-terminated string and `status` is valid for writes of one statvfs.
    if unsafe { libc::statvfs(name.as_ptr(), status.as_mut_ptr()) } != 0 {
        return Err(error(std::io::Error::last_os_error()));
    }
    // SAFETY: statvfs returned success, and all-zero was a valid value before.
    let status = unsafe { status.assume_init() };
    Ok(status.f_bavail.saturating_mul(status.f_frsize))
}

/// The folder that holds `path` ("." for a bare name).
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Names a full disk and a size limit as what they are; anything else is an input-output error.
fn write_error(action: &'static str, path: &Path, needed: u64, source: std::io::Error) -> Error {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::StorageFull => {
            let free = free_bytes(folder_of(&path)).unwrap_or(0);
            Error::DiskFull { path, needed, free }
        }
        ErrorKind::FileTooLarge | ErrorKind::QuotaExceeded => Error::FileLimit { path, needed },
        _ => Error::Io { action, path, source },
    }
}
