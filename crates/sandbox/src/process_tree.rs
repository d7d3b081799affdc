//! What a test's processes use, read from the host's /proc: CPU time, memory, and time in which none of its threads
//! was running or ready to run. The tree is walked from the test's first process, which is init of its PID namespace,
//! so that every process it leaves behind hangs below it.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// Idle time that one walk may add. When the daemon itself did not run for longer, the test may have waited for it.
const IDLE_MAX: Duration = Duration::from_millis(80);

/// What one walk found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of the tree so far.
    pub cpu_us: u64,
    /// Sum over the processes of what no file backs: at least what their mappings hold, as pages that a fork shares count
    /// once a process. `Meter::proportional_kib` is exact and slow.
    pub resident_kib: u64,
    pub thread_count: u64,
}

/// Watches one tree over time.
#[derive(Debug)]
pub struct Meter {
    root: i32,
    began: Instant,
    sampled_at: Instant,
    threads: HashMap<i32, Scheduled>,
    tree_cpu_us: u64,
    idle: Duration,
    pids: Vec<i32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Scheduled {
    cpu_ns: u64,
    ready_ns: u64,
}

#[derive(Debug, Default)]
struct Walk {
    busy_ns: u64,
    process_cpu_us: u64,
    resident_kib: u64,
    thread_count: u64,
    any_runnable: bool,
}

impl Meter {
    /// Begins to watch the process `root` (a pid of the host), whose idle time counts from `now`.
    pub fn new(root: i32, now: Instant) -> Self {
        Self {
            root,
            began: now,
            sampled_at: now,
            threads: HashMap::new(),
            tree_cpu_us: 0,
            idle: Duration::ZERO,
            pids: Vec::new(),
        }
    }

    /// Time until now in which no thread of the tree ran or could have run.
    pub fn idle(&self) -> Duration {
        self.idle
    }

    /// Time by the clock from the beginning to the last look.
    pub fn age(&self) -> Duration {
        self.sampled_at.saturating_duration_since(self.began)
    }

    /// CPU time of the tree at the last look.
    pub fn cpu_us(&self) -> u64 {
        self.tree_cpu_us
    }

    /// Walks the tree. `counted_cpu_us` is what a cgroup says about its CPU time, where there is one.
    pub fn sample(&mut self, now: Instant, counted_cpu_us: Option<u64>) -> Usage {
        let elapsed = now.saturating_duration_since(self.sampled_at);
        self.sampled_at = now;
        let mut walk = Walk::default();
        let mut pids = vec![self.root];
        self.pids.clear();
        while let Some(pid) = pids.pop() {
            self.pids.push(pid);
            self.visit(pid, &mut walk, &mut pids);
        }
        // Threads that are gone keep their last count here; waited-for children are in the processes' own counts.
        let threads_cpu_us = self.threads.values().map(|thread| thread.cpu_ns).sum::<u64>() / 1000;
        let cpu_us = counted_cpu_us.unwrap_or(0).max(threads_cpu_us).max(walk.process_cpu_us).max(self.tree_cpu_us);
        let busy = Duration::from_nanos(walk.busy_ns).max(Duration::from_micros(cpu_us - self.tree_cpu_us));
        self.tree_cpu_us = cpu_us;
        // A thread that waits for a core adds its delay only when it gets one, so its state is asked too.
        if !walk.any_runnable {
            self.idle += elapsed.saturating_sub(busy).min(IDLE_MAX);
        }
        Usage { cpu_us, resident_kib: walk.resident_kib, thread_count: walk.thread_count }
    }

    /// Memory of the processes of the last walk, each page divided by how many processes map it; `None` if a living
    /// process could not be asked.
    pub fn proportional_kib(&self) -> Option<u64> {
        let of = |pid: &i32| match fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) {
            Ok(text) => sum_of_fields(&text, &["Pss_Anon:", "Pss_Shmem:", "SwapPss:"]),
            // No such process any more, or one that has given its memory back already.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Some(0),
            Err(_) => None,
        };
        self.pids.iter().map(of).sum()
    }

    fn visit(&mut self, pid: i32, walk: &mut Walk, pids: &mut Vec<i32>) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
        walk.process_cpu_us += process_cpu_us(pid).unwrap_or(0);
        walk.resident_kib += resident_kib(pid).unwrap_or(0);
        for task in tasks.flatten() {
            let Some(tid) = task.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let folder = format!("/proc/{pid}/task/{tid}");
            walk.thread_count += 1;
            if let Some(now) = scheduled(&folder) {
                let before = self.threads.insert(tid, now).unwrap_or_default();
                walk.busy_ns += now.cpu_ns.saturating_sub(before.cpu_ns) + now.ready_ns.saturating_sub(before.ready_ns);
            }
            walk.any_runnable |= state(&folder) == Some('R');
            if let Ok(children) = fs::read_to_string(format!("{folder}/children")) {
                pids.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            }
        }
    }
}

fn scheduled(folder: &str) -> Option<Scheduled> {
    let text = fs::read_to_string(format!("{folder}/schedstat")).ok()?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    Some(Scheduled { cpu_ns: numbers.next()?.ok()?, ready_ns: numbers.next()?.ok()? })
}

/// The fields of a `stat` file from the state on, which is field 3; the name before it may hold anything.
fn after_name(text: &str) -> Option<std::str::SplitAsciiWhitespace<'_>> {
    text.rsplit_once(')').map(|(_, rest)| rest.split_ascii_whitespace())
}

fn state(folder: &str) -> Option<char> {
    let text = fs::read_to_string(format!("{folder}/stat")).ok()?;
    after_name(&text)?.next()?.chars().next()
}

/// utime, stime, cutime, cstime of a process: fields 14 to 17, in ticks.
fn process_cpu_us(pid: i32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks: u64 = after_name(&text)?.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    // SAFETY: sysconf reads a constant.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Some(ticks * 1_000_000 / u64::try_from(ticks_per_second).ok()?.max(1))
}

/// Memory that no file backs, where it was swapped out too.
fn resident_kib(pid: i32) -> Option<u64> {
    sum_of_fields(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, &["RssAnon:", "RssShmem:", "VmSwap:"])
}

/// The sum of the named lines' numbers; `None` if a line is missing.
fn sum_of_fields(text: &str, names: &[&str]) -> Option<u64> {
    let field = |name: &&str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(*name))?;
        rest.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    names.iter().map(field).sum()
}

/// The pid on the host of the process behind a pidfd.
pub fn pid_of(pidfd: &std::os::fd::OwnedFd) -> Option<i32> {
    use std::os::fd::AsRawFd;
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"))?;
    line.trim().parse::<i32>().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_sleeper_is_idle_and_a_loop_is_not() {
        let start = |script: &str| Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).spawn().unwrap();
        let (mut sleeper, mut looper) = (start("read line"), start("while :; do :; done"));
        let began = Instant::now();
        let mut meters = [Meter::new(sleeper.id() as i32, began), Meter::new(looper.id() as i32, began)];
        let mut looped_us = 0;
        // Until the loop has had 100 ms of CPU time, however busy the machine is.
        while looped_us < 100_000 && began.elapsed() < Duration::from_mins(1) {
            std::thread::yield_now();
            meters[0].sample(Instant::now(), None);
            looped_us = meters[1].sample(Instant::now(), None).cpu_us;
        }
        let elapsed = began.elapsed();
        sleeper.kill().unwrap();
        looper.kill().unwrap();
        sleeper.wait().unwrap();
        looper.wait().unwrap();
        assert!(looped_us >= 100_000);
        assert!(meters[0].idle() > elapsed / 2, "{:?} of {elapsed:?}", meters[0].idle());
        assert!(meters[1].idle() < elapsed / 4, "{:?} of {elapsed:?}", meters[1].idle());
    }
}
