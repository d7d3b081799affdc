//! The cgroup of each worker (tier A): exact memory and process limits, exact CPU counts. Version 1 (one hierarchy a
//! controller) and version 2 (a delegated subtree); the daemon holds a lock on its group's folder for life, so that the
//! next daemon knows what a killed one left.

use crate::error::{Error, Result, Step};
use crate::request::Limits;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PREFIX: &str = "gradus-";
/// Names that are tried where others hold the first ones: daemons in different PID namespaces may have one pid.
const NAMES_MAX: usize = 64;
/// Killed processes that are not gone after this keep their group, which the next daemon tries again: one of them may
/// hang within the kernel for as long as the host's disks do.
const REMOVAL: Duration = Duration::from_secs(2);

/// The daemon's own group, in which it makes one for each worker. The lock on it ends with the value.
#[derive(Debug)]
pub struct Subtree {
    at: Place,
    _locks: Vec<File>,
}

/// One group: its folder for each controller.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    version: Version,
    memory: PathBuf,
    pids: PathBuf,
    cpu: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The group of one worker, used by one test after the other.
#[derive(Debug)]
pub struct Group {
    at: Place,
    limits: Option<Limits>,
    before: Counts,
    /// Version 2 keeps the peak since the last reset for the descriptor that was used to reset it.
    peak: Option<File>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    cpu_us: u64,
    oom_kills: u64,
}

impl Subtree {
    /// Makes this daemon's subtree below the daemon's own group, or below `below` (a path as in /proc/self/cgroup)
    /// where root has prepared one, after sweeping what dead daemons left there. The error says what is missing.
    pub fn create(below: Option<&str>) -> Result<Self> {
        let mut parent = Place::parent(below)?;
        // In version 2 a group with processes can have no children with controllers, and ours has at least the daemon:
        // the nearest group above without processes takes them, where this user may write there.
        while parent.version == Version::Two
            && let Err(error) = enable_controllers(&parent.memory)
        {
            parent = parent.above().filter(|_| below.is_none()).ok_or(error)?;
        }
        parent.folders().iter().for_each(|folder| sweep(folder));
        let own = Self::claim(&parent)?;
        if own.at.version == Version::Two {
            enable_controllers(&own.at.memory)?;
        }
        Ok(own)
    }

    /// Makes a group and locks it. Between the two a sweeping daemon may have taken it away, hence the attempts.
    fn claim(parent: &Place) -> Result<Self> {
        let names = (0..NAMES_MAX).map(|attempt| match attempt {
            0 => format!("{PREFIX}{}", std::process::id()),
            _ => format!("{PREFIX}{}-{attempt}", std::process::id()),
        });
        for name in names {
            let at = parent.child(&name);
            at.make()?;
            let locks: Option<Vec<File>> = at.folders().into_iter().map(lock).collect();
            if let Some(locks) = locks {
                return Ok(Self { at, _locks: locks });
            }
        }
        Err(Error::Worker(format!("every name for a cgroup in {} is taken", parent.memory.display())))
    }

    /// The group for one worker.
    pub fn group(&self, worker: usize) -> Result<Group> {
        Group::make(self.at.child(&format!("worker-{worker}")))
    }

    /// Removes the daemon's groups, all of whose processes are gone.
    pub fn remove(&self) {
        self.at.folders().iter().for_each(|folder| remove_tree(folder));
    }
}

impl Place {
    fn parent(below: Option<&str>) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").step("read /proc/self/mounts")?;
        let groups = fs::read_to_string("/proc/self/cgroup").step("read /proc/self/cgroup")?;
        let one = |controller: &str| -> Option<PathBuf> {
            let mount = mounts.lines().find_map(|line| {
                let fields: Vec<&str> = line.split(' ').collect();
                let [_, at, "cgroup", options, ..] = fields[..] else { return None };
                options.split(',').any(|option| option == controller).then(|| PathBuf::from(at))
            })?;
            Some(join(&mount, below.or_else(|| own_group(&groups, controller))?))
        };
        if let (Some(memory), Some(pids), Some(cpu)) = (one("memory"), one("pids"), one("cpuacct")) {
            return Ok(Self { version: Version::One, memory, pids, cpu });
        }
        let mount = mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, at, "cgroup2", ..] = fields[..] else { return None };
            Some(PathBuf::from(at))
        });
        let folder = mount.zip(below.or_else(|| own_group(&groups, ""))).map(|(mount, group)| join(&mount, group));
        match folder {
            Some(folder) => {
                Ok(Self { version: Version::Two, memory: folder.clone(), pids: folder.clone(), cpu: folder })
            }
            None => Err(Error::Worker("no cgroup with memory and pids is mounted".into())),
        }
    }

    fn child(&self, name: &str) -> Self {
        let Self { version, memory, pids, cpu } = self;
        Self { version: *version, memory: memory.join(name), pids: pids.join(name), cpu: cpu.join(name) }
    }

    /// The group above, if it is still one of the hierarchy.
    fn above(&self) -> Option<Self> {
        let folder = self.memory.parent().filter(|folder| folder.join("cgroup.subtree_control").exists())?;
        Some(Self { version: self.version, memory: folder.into(), pids: folder.into(), cpu: folder.into() })
    }

    fn make(&self) -> Result<()> {
        self.folders()
            .iter()
            .try_for_each(|folder| fs::create_dir_all(folder).step(format!("create the cgroup {}", folder.display())))
    }

    fn folders(&self) -> Vec<&Path> {
        let mut folders = vec![self.memory.as_path(), &self.pids, &self.cpu];
        folders.dedup();
        folders
    }
}

impl Group {
    fn make(at: Place) -> Result<Self> {
        at.make()?;
        if at.version == Version::One {
            // Swap would let a test pass its memory limit; where there is no swap the file may refuse, harmlessly.
            let _ = fs::write(at.memory.join("memory.swappiness"), "0");
        } else {
            let _ = fs::write(at.memory.join("memory.swap.max"), "0");
        }
        let peak = fs::OpenOptions::new().read(true).write(true).open(at.memory.join("memory.peak")).ok();
        Ok(Self { at, limits: None, before: Counts::default(), peak })
    }

    /// Makes the group anew where somebody on the host has removed it.
    fn restore(&mut self) -> Result<()> {
        if self.at.folders().iter().all(|folder| folder.is_dir()) {
            return Ok(());
        }
        if self.at.version == Version::Two
            && let Some(parent) = self.at.memory.parent()
        {
            fs::create_dir_all(parent).step(format!("create the cgroup {}", parent.display()))?;
            enable_controllers(parent)?;
        }
        *self = Self::make(self.at.clone())?;
        Ok(())
    }

    /// Sets the limits for the next test and starts its counts at zero.
    pub fn reset(&mut self, limits: &Limits) -> Result<()> {
        self.restore()?;
        if self.limits.as_ref() != Some(limits) {
            self.limit_memory(limits.memory_mib << 20)?;
            write_number(&self.at.pids.join("pids.max"), limits.processes)?;
            self.limits = Some(*limits);
        }
        match self.at.version {
            Version::One => write_number(&self.at.memory.join("memory.max_usage_in_bytes"), 0)?,
            Version::Two => {
                // Linux before 6.12 cannot reset it; the peak of such a result is that of all tests so far.
                if let Some(peak) = &self.peak {
                    let _ = peak.write_at(b"0", 0);
                }
            }
        }
        self.before = self.counts();
        Ok(())
    }

    /// Moves a process in. Its descendants follow it.
    pub fn attach(&self, pid: i32) -> Result<()> {
        let pid = u64::try_from(pid).unwrap_or_default();
        self.at.folders().iter().try_for_each(|folder| write_number(&folder.join("cgroup.procs"), pid))
    }

    /// CPU time of this test so far.
    pub fn cpu_us(&self) -> u64 {
        self.counts().cpu_us.saturating_sub(self.before.cpu_us)
    }

    /// True if the kernel killed a process of this test for want of memory.
    pub fn ran_out_of_memory(&self) -> bool {
        self.counts().oom_kills > self.before.oom_kills
    }

    /// Most memory that this test had at one time.
    pub fn memory_peak_bytes(&self) -> u64 {
        if let Some(peak) = &self.peak {
            let mut text = [0; 32];
            let length = peak.read_at(&mut text, 0).unwrap_or(0);
            return std::str::from_utf8(&text[..length]).unwrap_or("").trim().parse::<u64>().unwrap_or(0);
        }
        let name = match self.at.version {
            Version::One => "memory.max_usage_in_bytes",
            Version::Two => "memory.peak",
        };
        read_number(&self.at.memory.join(name)).unwrap_or(0)
    }

    fn limit_memory(&self, bytes: u64) -> Result<()> {
        let file = match self.at.version {
            Version::One => self.at.memory.join("memory.limit_in_bytes"),
            Version::Two => self.at.memory.join("memory.max"),
        };
        match write_number(&file, bytes) {
            // What the last test left in the page cache is more than that: version 1 gives it back when it is asked.
            Err(error) if error.errno() == Some(libc::EBUSY) => {
                write_number(&self.at.memory.join("memory.force_empty"), 0)?;
                write_number(&file, bytes)
            }
            other => other,
        }
    }

    fn counts(&self) -> Counts {
        let Place { version, memory, cpu, .. } = &self.at;
        match version {
            Version::One => Counts {
                cpu_us: read_number(&cpu.join("cpuacct.usage")).unwrap_or(0) / 1000,
                oom_kills: read_field(&memory.join("memory.oom_control"), "oom_kill").unwrap_or(0),
            },
            Version::Two => Counts {
                cpu_us: read_field(&cpu.join("cpu.stat"), "usage_usec").unwrap_or(0),
                oom_kills: read_field(&memory.join("memory.events"), "oom_kill").unwrap_or(0),
            },
        }
    }
}

/// The group of this process in the hierarchy of `controller`; version 2 has the empty name.
fn own_group<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, group) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(group)
    })
}

fn join(mount: &Path, group: &str) -> PathBuf {
    mount.join(group.trim_start_matches('/'))
}

fn enable_controllers(folder: &Path) -> Result<()> {
    fs::write(folder.join("cgroup.subtree_control"), "+memory +pids")
        .step(format!("enable memory and pids below the cgroup {}", folder.display()))
}

/// Removes the groups of daemons that are gone, with whatever still runs in them. A living daemon holds its lock,
/// whatever its name is and in whichever PID namespace it lives.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_name_of_group)
            && let Some(_lock) = lock(&entry.path())
        {
            remove_tree(&entry.path());
        }
    }
}

/// True for what `claim` gives: the prefix, a pid, and perhaps the number of the attempt.
fn is_name_of_group(name: &str) -> bool {
    let numbers = name.strip_prefix(PREFIX);
    numbers.is_some_and(|numbers| numbers.split('-').all(|number| number.parse::<u32>().is_ok()))
}

/// Locks a folder, unless somebody else has it or it is not there any more.
fn lock(folder: &Path) -> Option<File> {
    let file = File::open(folder).ok()?;
    file.try_lock().ok()?;
    let (held, found) = (file.metadata().ok()?, fs::metadata(folder).ok()?);
    ((held.dev(), held.ino()) == (found.dev(), found.ino())).then_some(file)
}

/// Kills what is in a group and its children, then removes them.
fn remove_tree(folder: &Path) {
    remove_tree_until(folder, Instant::now() + REMOVAL);
}

fn remove_tree_until(folder: &Path, end: Instant) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree_until(&entry.path(), end);
        }
    }
    loop {
        let procs = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines().filter_map(|line| line.parse::<i32>().ok()) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        match fs::remove_dir(folder) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(2));
            }
            _ => return,
        }
    }
}

fn write_number(file: &Path, number: u64) -> Result<()> {
    fs::write(file, number.to_string()).step(format!("write {number} to {}", file.display()))
}

fn read_number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()
}

fn read_field(file: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder in which daemons make groups; to the functions under test it is like one of a cgroup file system.
    fn hierarchy(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("gradus-cgroup-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Place { version: Version::One, memory: folder.clone(), pids: folder.clone(), cpu: folder }
    }

    #[test]
    fn what_a_living_daemon_holds_stays_and_what_a_dead_one_left_goes() {
        let parent = hierarchy("sweep");
        let first = Subtree::claim(&parent).unwrap();
        let second = Subtree::claim(&parent).unwrap();
        assert_ne!(first.at, second.at);
        let foreign = parent.child("gradus-attacks-1");
        foreign.make().unwrap();
        first.at.child("worker-0").make().unwrap();
        sweep(&parent.memory);
        assert!(first.at.child("worker-0").memory.is_dir() && second.at.memory.is_dir());
        let left = first.at.clone();
        drop(first);
        sweep(&parent.memory);
        assert!(!left.memory.exists());
        assert!(second.at.memory.is_dir() && foreign.memory.is_dir());
        fs::remove_dir_all(&parent.memory).unwrap();
    }

    #[test]
    fn a_group_that_was_removed_is_made_again() {
        let parent = hierarchy("restore");
        let own = Subtree::claim(&parent).unwrap();
        let mut group = own.group(0).unwrap();
        fs::remove_dir_all(&own.at.memory).unwrap();
        group.restore().unwrap();
        assert!(group.at.memory.is_dir());
        fs::remove_dir_all(&parent.memory).unwrap();
    }
}
