//! The file system that tests see: a tmpfs with a read-only view of the interpreter and its libraries, three devices,
//! and an empty folder where each test gets a tmpfs of its own. Built once a worker, by the worker's first process
//! inside a new mount namespace, which has nothing else once the old root is detached.

use crate::error::{Result, Step};
use crate::interpreter::Interpreter;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The folder of the sandbox that Landlock lets a test write below.
pub const BOX: &str = "/box";
/// Working directory of a test: the mount point of its own tmpfs.
pub const RUN: &str = "/box/run";
/// Devices that a test may open. Not /dev/zero, whose shared mappings are memory that no look at a process shows.
pub const DEVICES: [&str; 3] = ["/dev/null", "/dev/urandom", "/dev/random"];
/// System folders of shared libraries; symbolic links are shown as links.
const SYSTEM_LIBRARIES: [&str; 6] = ["/usr/lib", "/usr/lib32", "/usr/lib64", "/lib", "/lib32", "/lib64"];
const LOADER_CACHE: &str = "/etc/ld.so.cache";
/// Python's `zoneinfo` reads its zones here.
const TIME_ZONES: &str = "/usr/share/zoneinfo";
/// Any folder that every host has: the new root grows on a tmpfs over it, in the worker's mount namespace alone.
const SCAFFOLD: &str = "/tmp";

/// Replaces the calling process's root. The process must own its mount namespace.
pub fn enter(interpreter: &Interpreter) -> Result<()> {
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).step("make mounts private")?;
    mount_tmpfs(SCAFFOLD, "size=1m")?;
    let (scaffold_old, scaffold_new) = (Path::new(SCAFFOLD).join("old"), Path::new(SCAFFOLD).join("new"));
    make_folder(&scaffold_old)?;
    make_folder(&scaffold_new)?;
    pivot_root(SCAFFOLD, &scaffold_old).step("pivot_root to the scaffold")?;
    chdir("/").step("chdir /")?;
    mount_tmpfs("/new", "size=1m,mode=755")?;
    populate(interpreter)?;
    seal("/new", false)?;
    chdir("/new").step("chdir to the new root")?;
    pivot_root(".", ".").step("pivot_root to the new root")?;
    umount2(".", MntFlags::MNT_DETACH).step("detach the host's root")?;
    chdir("/").step("chdir to the new root")
}

fn populate(interpreter: &Interpreter) -> Result<()> {
    make_folder(Path::new("/new/dev"))?;
    make_folder(&inside(Path::new(RUN)))?;
    for link in ["/tmp", "/dev/shm"] {
        symlink(RUN, inside(Path::new(link))).step(format!("link {link}"))?;
    }
    for device in DEVICES {
        bind_file(Path::new(device))?;
        // Writing to a device needs no writable mount; changing the times of the host's own file does.
        set_attributes(inside(Path::new(device)), libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID, false)?;
    }
    for folder in SYSTEM_LIBRARIES {
        show_folder(Path::new(folder))?;
    }
    show_folder(Path::new(TIME_ZONES))?;
    for folder in interpreter.library_folders.iter().chain(&interpreter.folders) {
        show_folder(folder)?;
    }
    if host(Path::new(LOADER_CACHE)).exists() {
        show_file(Path::new(LOADER_CACHE))?;
    }
    if inside(&interpreter.executable).exists() { Ok(()) } else { show_file(&interpreter.executable) }
}

/// Shows a folder of the host at its own path unless a folder above it is shown already.
fn show_folder(folder: &Path) -> Result<()> {
    let (source, target) = (host(folder), inside(folder));
    if !source.exists() || target.symlink_metadata().is_ok() {
        return Ok(());
    }
    if let Ok(link) = fs::read_link(&source) {
        if let Some(parent) = target.parent() {
            make_folder(parent)?;
        }
        return symlink(link, &target).step(format!("link {}", folder.display()));
    }
    make_folder(&target)?;
    bind(&source, &target)?;
    seal(&target, true)
}

fn show_file(file: &Path) -> Result<()> {
    bind_file(file)?;
    seal(inside(file), true)
}

fn bind_file(file: &Path) -> Result<()> {
    let target = inside(file);
    if let Some(parent) = target.parent() {
        make_folder(parent)?;
    }
    fs::write(&target, b"").step(format!("create {}", target.display()))?;
    bind(&host(file), &target)
}

fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .step(format!("bind {}", target.display()))
}

fn mount_tmpfs(target: &str, options: &str) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options)).step(format!("mount tmpfs at {target}"))
}

/// Makes a mount read-only, without set-user-id programs and (with everything below it) without devices.
fn seal(target: impl AsRef<Path>, and_below: bool) -> Result<()> {
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    set_attributes(target, attributes, and_below)
}

fn set_attributes(target: impl AsRef<Path>, attributes: u64, and_below: bool) -> Result<()> {
    let target = target.as_ref();
    let step = || format!("make {} read-only", target.display());
    let path = CString::new(target.as_os_str().as_encoded_bytes()).map_err(io::Error::from).step(step())?;
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = if and_below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: path is a C string and attributes a mount_attr of the size that is passed; the call keeps neither.
    let failed = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()).step(step()) }
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).step(format!("create {}", path.display()))
}

/// Where a path of the host lies while the new root is built.
fn host(path: &Path) -> PathBuf {
    Path::new("/old").join(path.strip_prefix("/").unwrap_or(path))
}

/// Where a path of the sandbox lies while the new root is built.
fn inside(path: &Path) -> PathBuf {
    Path::new("/new").join(path.strip_prefix("/").unwrap_or(path))
}
