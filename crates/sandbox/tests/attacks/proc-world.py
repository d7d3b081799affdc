# attack: {"tries": "reads and writes what /proc and /sys know of the host", "outcomes": ["exited"]}
for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/self/oom_score_adj",
             "/proc/sys/vm/drop_caches", "/sys/kernel/uevent_helper", "/sys/fs/cgroup/cgroup.procs", "/sys/power/state"):
    attempt(f"write {path}", lambda: open(path, "r+b") and path)
for path in ("/proc/kallsyms", "/proc/kcore", "/proc/cmdline", "/proc/net/tcp", "/proc/net/unix", "/proc/mounts", "/proc/cgroups",
             "/proc/self/mountinfo", "/proc/keys", "/sys/class/net", "/proc/sched_debug", "/proc/kmsg"):
    def read():
        text = open(path, "rb").read(1 << 16)
        return given["needle"].encode() in text or path in ("/proc/kallsyms", "/proc/kcore", "/proc/kmsg")
    attempt(f"read {path}", read)
attempt("other processes", lambda: [name for name in os.listdir("/proc") if name.isdigit() and int(name) > 100])
done()
