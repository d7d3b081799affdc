//! The system calls that no test may make, as two BPF programs: refused calls fail with EPERM, `clone3` and
//! whatever is newer than the list with ENOSYS, so that libc falls back to what the filter can read. Anything through
//! the i386 or x32 entry is killed.

use crate::error::{Error, Result};
use libc::{c_long, sock_filter};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// Calls that the libc crate has no name for.
const IO_PGETEVENTS: c_long = 333;
const STATMOUNT: c_long = 457;
const LISTMOUNT: c_long = 458;
/// The newest call that these lists have considered: removexattrat of Linux 6.13. Newer ones do not exist for a test.
const NEWEST_KNOWN: u32 = 466;

/// Calls that fail with EPERM. What a Python program needs without any privilege is absent from this list.
#[rustfmt::skip]
const REFUSED: &[c_long] = &[
    // Namespaces, mounts and roots.
    libc::SYS_unshare, libc::SYS_setns, libc::SYS_mount, libc::SYS_umount2, libc::SYS_pivot_root, libc::SYS_chroot,
    libc::SYS_fsopen, libc::SYS_fsconfig, libc::SYS_fsmount, libc::SYS_fspick, libc::SYS_move_mount,
    libc::SYS_open_tree, libc::SYS_mount_setattr, libc::SYS_quotactl, libc::SYS_quotactl_fd,
    libc::SYS_swapon, libc::SYS_swapoff, libc::SYS_name_to_handle_at, libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init, libc::SYS_fanotify_mark, STATMOUNT, LISTMOUNT,
    // Other processes.
    libc::SYS_ptrace, libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_process_madvise,
    libc::SYS_pidfd_open, libc::SYS_pidfd_getfd, libc::SYS_kcmp, libc::SYS_migrate_pages, libc::SYS_move_pages,
    libc::SYS_process_mrelease,
    // Programs: nothing is to be executed in here.
    libc::SYS_execve, libc::SYS_execveat, libc::SYS_uselib,
    // Network: asyncio and multiprocessing need socketpair alone.
    libc::SYS_socket, libc::SYS_bind, libc::SYS_connect, libc::SYS_listen, libc::SYS_accept, libc::SYS_accept4,
    libc::SYS_setsockopt,
    // Memory that the supervisor's polling could not see, and objects that outlive a process.
    libc::SYS_memfd_create, libc::SYS_memfd_secret, libc::SYS_shmget, libc::SYS_shmat, libc::SYS_shmctl,
    libc::SYS_semget, libc::SYS_semop, libc::SYS_semtimedop, libc::SYS_semctl,
    libc::SYS_msgget, libc::SYS_msgsnd, libc::SYS_msgrcv, libc::SYS_msgctl,
    libc::SYS_mq_open, libc::SYS_mq_unlink, libc::SYS_mq_timedsend, libc::SYS_mq_timedreceive,
    libc::SYS_mq_notify, libc::SYS_mq_getsetattr,
    libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl,
    // The kernel itself.
    libc::SYS_bpf, libc::SYS_perf_event_open, libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register,
    libc::SYS_kexec_load, libc::SYS_kexec_file_load, libc::SYS_init_module, libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_personality, libc::SYS_ioperm, libc::SYS_iopl, libc::SYS_modify_ldt, libc::SYS_acct,
    libc::SYS_reboot, libc::SYS_syslog, libc::SYS_sethostname, libc::SYS_setdomainname, libc::SYS_vhangup,
    libc::SYS_nfsservctl, libc::SYS_lookup_dcookie, libc::SYS__sysctl, libc::SYS_sysfs, libc::SYS_ustat,
    // What belongs to the whole host: its unwritten files, and its one count of asynchronous requests.
    libc::SYS_sync, libc::SYS_syncfs,
    libc::SYS_io_setup, libc::SYS_io_destroy, libc::SYS_io_getevents, libc::SYS_io_submit, libc::SYS_io_cancel,
    IO_PGETEVENTS,
    // Files of the host that every test sees: locks on them and news of them would reach from one test to another.
    libc::SYS_flock, libc::SYS_inotify_init, libc::SYS_inotify_init1,
    // Walls of the program's own, which nobody needs and which take the kernel's memory.
    libc::SYS_seccomp, libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule,
    libc::SYS_landlock_restrict_self,
    // Clocks and scheduling, by which one test could slow another.
    libc::SYS_settimeofday, libc::SYS_clock_settime, libc::SYS_clock_adjtime, libc::SYS_adjtimex,
    libc::SYS_setpriority, libc::SYS_ioprio_set, libc::SYS_sched_setaffinity, libc::SYS_sched_setattr,
    libc::SYS_sched_setparam, libc::SYS_sched_setscheduler, libc::SYS_mbind, libc::SYS_set_mempolicy,
    libc::SYS_set_mempolicy_home_node,
];

/// Calls that fail with ENOSYS: their flags lie in memory, where a filter cannot look.
const UNKNOWN: &[c_long] = &[libc::SYS_clone3];

/// Bits of `clone`'s flags that make a namespace. CLONE_NEWTIME is known to `clone3` and `unshare` alone.
const NAMESPACE_FLAGS: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Numbers from here on are the x32 entry.
const X32_BIT: u32 = 0x4000_0000;

/// Memory that stays whole while one page of it is mapped, and so can be had without showing in what is mapped.
const SHARED_WITHOUT_FILE: i32 = libc::MAP_SHARED | libc::MAP_ANONYMOUS;

/// The programs that each test installs, in the kernel's own layout of `sock_filter`. Where no cgroup counts for it,
/// a test may not do what the daemon's looks at its processes would miss.
pub fn programs(has_cgroup: bool) -> Result<Vec<Vec<u8>>> {
    let mut refused: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let namespaces: Result<Vec<SeccompRule>> = NAMESPACE_FLAGS.iter().map(|flag| all_bits(0, *flag)).collect();
    refused.insert(libc::SYS_clone, namespaces?);
    // Any other family would make the kernel load its module and create a socket before it says no.
    refused.insert(libc::SYS_socketpair, vec![rule(0, SeccompCmpOp::Ne, libc::AF_UNIX as u64)?]);
    // Who could be dumped again would start the host's handler of core dumps when it crashes.
    let options: Result<Vec<SeccompRule>> = [libc::PR_SET_DUMPABLE, libc::PR_SET_SECCOMP]
        .iter()
        .map(|option| rule(0, SeccompCmpOp::Eq, *option as u64))
        .collect();
    refused.insert(libc::SYS_prctl, options?);
    let mut mappings = vec![all_bits(3, libc::MAP_HUGETLB)?];
    if !has_cgroup {
        mappings.push(all_bits(3, SHARED_WITHOUT_FILE)?);
        // A process that ignores its children's death gets no count of their CPU time; as it is, a child that nobody
        // waited for stays as a zombie, in sight and within the limit of processes.
        refused.insert(libc::SYS_rt_sigaction, vec![rule(0, SeccompCmpOp::Eq, libc::SIGCHLD as u64)?]);
    }
    // Huge pages come from a store of the host's that no limit of memory covers.
    refused.insert(libc::SYS_mmap, mappings);
    let unknown = UNKNOWN.iter().map(|call| (*call, Vec::new())).collect();
    // The one that refuses further filters is the last.
    Ok(vec![program(unknown, libc::ENOSYS)?, program(refused, libc::EPERM)?])
}

/// Holds for a call whose argument has all of the bits.
fn all_bits(position: u8, bits: i32) -> Result<SeccompRule> {
    let bits = bits as u64;
    rule(position, SeccompCmpOp::MaskedEq(bits), bits)
}

/// Looks at the lower half of an argument, which is all that the kernel reads of the ones that are asked here.
fn rule(position: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule> {
    let condition = SeccompCondition::new(position, SeccompCmpArgLen::Dword, operator, value).map_err(broken)?;
    SeccompRule::new(vec![condition]).map_err(broken)
}

fn program(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<Vec<u8>> {
    let refusal = SeccompAction::Errno(errno as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refusal, TargetArch::x86_64).map_err(broken)?;
    let program: BpfProgram = filter.try_into().map_err(broken)?;
    let numbers_beyond_the_lists = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        statement(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 1, X32_BIT),
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_KILL_PROCESS),
        statement(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 1, NEWEST_KNOWN),
        statement(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ];
    let ours = numbers_beyond_the_lists.iter().map(|s| (s.code, s.jt, s.jf, s.k));
    let theirs = program.iter().map(|s| (s.code, s.jt, s.jf, s.k));
    Ok(ours.chain(theirs).flat_map(instruction_bytes).collect())
}

/// One BPF instruction; a jump goes on with the next one if it holds and skips `skip` if not.
fn statement(code: u32, skip: u8, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: skip, k }
}

fn instruction_bytes((code, jt, jf, k): (u16, u8, u8, u32)) -> [u8; 8] {
    let ([c0, c1], [k0, k1, k2, k3]) = (code.to_ne_bytes(), k.to_ne_bytes());
    [c0, c1, jt, jf, k0, k1, k2, k3]
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Worker(format!("seccomp: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86_64: u32 = 0xC000_003E;
    const I386: u32 = 0x4000_0003;

    /// Runs a program as the kernel would on one call; knows the instructions that our programs use.
    fn verdict(program: &[u8], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            0 => number,
            4 => architecture,
            16.. if offset.is_multiple_of(8) => arguments[offset as usize / 8 - 2] as u32,
            other => panic!("read at {other}"),
        };
        let (mut at, mut accumulator) = (0, 0u32);
        loop {
            let instruction: [u8; 8] = program[at * 8..at * 8 + 8].try_into().unwrap();
            let [c0, c1, jt, jf, k0, k1, k2, k3] = instruction;
            let (code, k) = (u16::from_ne_bytes([c0, c1]), u32::from_ne_bytes([k0, k1, k2, k3]));
            let jump = |holds: bool| usize::from(if holds { jt } else { jf });
            at += 1;
            match u32::from(code) {
                0x20 => accumulator = word(k),
                0x54 => accumulator &= k,
                0x05 => at += k as usize,
                0x15 => at += jump(accumulator == k),
                0x25 => at += jump(accumulator > k),
                0x35 => at += jump(accumulator >= k),
                0x06 => return k,
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    /// The strictest verdict of all programs, as the kernel takes it.
    fn strictest_of(programs: &[Vec<u8>], architecture: u32, number: c_long, arguments: [u64; 6]) -> u32 {
        let verdicts = programs.iter().map(|program| verdict(program, architecture, number as u32, arguments));
        verdicts.min_by_key(|verdict| (*verdict & libc::SECCOMP_RET_ACTION_FULL) as i32).unwrap()
    }

    /// The verdict on a call with one argument, where a cgroup counts.
    fn strictest(architecture: u32, number: c_long, argument: u64) -> u32 {
        strictest_of(&programs(true).unwrap(), architecture, number, [argument, 0, 0, 0, 0, 0])
    }

    #[test]
    fn refused_calls_fail_and_ordinary_ones_pass() {
        for call in REFUSED {
            assert_eq!(strictest(X86_64, *call, 0), libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, "call {call}");
        }
        for call in [libc::SYS_clone3, i64::from(NEWEST_KNOWN) + 1, 1000] {
            assert_eq!(strictest(X86_64, call, 0), libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, "call {call}");
        }
        for call in [libc::SYS_read, libc::SYS_write, libc::SYS_mmap, libc::SYS_exit_group, 466] {
            assert_eq!(strictest(X86_64, call, 0), libc::SECCOMP_RET_ALLOW, "call {call}");
        }
    }

    #[test]
    fn arguments_that_are_refused() {
        let cases = [
            (libc::SYS_prctl, libc::PR_SET_NAME as u64, libc::PR_SET_DUMPABLE as u64),
            (libc::SYS_prctl, libc::PR_GET_NAME as u64, libc::PR_SET_SECCOMP as u64),
            (libc::SYS_socketpair, libc::AF_UNIX as u64, libc::AF_TIPC as u64),
        ];
        for (call, allowed, refused) in cases {
            assert_eq!(strictest(X86_64, call, allowed), libc::SECCOMP_RET_ALLOW, "call {call}");
            // The kernel reads 32 bits of these.
            for refused in [refused, refused | 1 << 40] {
                assert_eq!(
                    strictest(X86_64, call, refused),
                    libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
                    "call {call}"
                );
            }
        }
    }

    #[test]
    fn clone_makes_threads_and_processes_but_no_namespaces() {
        let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
        for flags in [thread, libc::SIGCHLD] {
            assert_eq!(strictest(X86_64, libc::SYS_clone, flags as u64), libc::SECCOMP_RET_ALLOW);
            for namespace in NAMESPACE_FLAGS {
                let refused = strictest(X86_64, libc::SYS_clone, (flags | namespace) as u64);
                assert_eq!(refused, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, "flag {namespace:#x}");
            }
        }
    }

    #[test]
    fn without_a_cgroup_no_memory_is_shared_but_by_files() {
        let (shared, private) = (libc::MAP_SHARED, libc::MAP_PRIVATE);
        let anonymous = libc::MAP_ANONYMOUS;
        for has_cgroup in [true, false] {
            let programs = programs(has_cgroup).unwrap();
            let verdict = |flags: i32| strictest_of(&programs, X86_64, libc::SYS_mmap, [0, 0, 0, flags as u64, 0, 0]);
            for flags in [shared, private, private | anonymous, private | anonymous | libc::MAP_STACK] {
                assert_eq!(verdict(flags), libc::SECCOMP_RET_ALLOW, "flags {flags:#x}");
            }
            let expected =
                if has_cgroup { libc::SECCOMP_RET_ALLOW } else { libc::SECCOMP_RET_ERRNO | libc::EPERM as u32 };
            assert_eq!(verdict(shared | anonymous), expected);
            assert_eq!(verdict(shared | anonymous | libc::MAP_NORESERVE), expected);
            let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
            assert_eq!(verdict(private | anonymous | libc::MAP_HUGETLB), refused);
        }
    }

    #[test]
    fn without_a_cgroup_no_child_is_forgotten() {
        for (has_cgroup, expected) in
            [(true, libc::SECCOMP_RET_ALLOW), (false, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32)]
        {
            let programs = programs(has_cgroup).unwrap();
            let verdict =
                |signal: u64| strictest_of(&programs, X86_64, libc::SYS_rt_sigaction, [signal, 0, 0, 8, 0, 0]);
            assert_eq!(verdict(libc::SIGINT as u64), libc::SECCOMP_RET_ALLOW);
            assert_eq!(verdict(libc::SIGCHLD as u64), expected);
            // The kernel reads 32 bits of it.
            assert_eq!(verdict(libc::SIGCHLD as u64 | 1 << 40), expected);
        }
    }

    #[test]
    fn other_entries_into_the_kernel_are_death() {
        for call in [libc::SYS_read, libc::SYS_unshare] {
            assert_eq!(strictest(I386, call, 0), libc::SECCOMP_RET_KILL_PROCESS);
            assert_eq!(strictest(X86_64, call | i64::from(X32_BIT), 0), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}
