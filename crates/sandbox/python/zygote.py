# The zygote: a warm interpreter that forks one process a test. It is init of the worker's PID namespace and keeps the
# rights over the worker's namespaces that a test's walls need; a test gives them up before its program starts.
# Last part of the zygote's program; src/zygote.rs describes the messages.
import _sitebuiltins
import importlib
import signal
import socket
import time

MESSAGE_BYTES_MAX = 128 << 10
DESCRIPTORS_MAX = 6

# What programs import most; each is loaded once here instead of in every test.
PRELOADED = """
abc array ast base64 bisect calendar cmath codecs collections collections.abc contextlib copy dataclasses datetime
decimal enum fractions functools hashlib heapq inspect io itertools json keyword locale math numbers operator os
pathlib pickle platform queue random re shutil statistics string struct subprocess tempfile textwrap time timeit
traceback types typing unicodedata uuid warnings weakref zlib
""".split()


def start_processes_by_fork():
    """CPython 3.14 starts them by executing the interpreter, which no test may. The default is changed where the
    module itself keeps it: `set_start_method` would make a program's own call of it fail."""
    if sys.version_info < (3, 14):
        return
    context = importlib.import_module("multiprocessing.context")
    context._default_context._default_context = context._concrete_contexts["fork"]
    # A second name of the main module, made by the import; a program's main module is another one.
    sys.modules.pop("__mp_main__", None)


def prepare(config):
    settle()
    config["filters"] = [filter_program(text) for text in config["seccomp"]]
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    start_processes_by_fork()
    # Plain Python has these from `site`, which is not imported: it reads files of the host's users.
    for name in ("exit", "quit"):
        setattr(builtins, name, _sitebuiltins.Quitter(name, "Ctrl-D (i.e. EOF)"))
    os.environ.clear()
    # Python sees an empty environment; numpy's C library, which a program may import, reads how many threads to start.
    for name in (b"OPENBLAS_NUM_THREADS", b"OMP_NUM_THREADS"):
        libc.setenv(name, b"1", 1)
    sys.path[:] = [config["run_folder"]] + config["path"]
    sys.path_importer_cache.clear()
    sys.dont_write_bytecode = True
    return config


def read_all(fd):
    chunks = []
    while chunk := os.read(fd, 1 << 20):
        chunks.append(chunk)
    return b"".join(chunks)


def become_test(config, run, fds, has_landlock):
    """In the test's process: raises the walls, waits for the word, runs the program. Never returns."""
    os.setsid()
    stdin, stdout, stderr, source, gate = fds[:5]
    try:
        payload = read_all(source)
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        confine(config, run, has_landlock)
        if os.read(gate, 1) != b"g":
            os._exit(70)
        code, rest = payload[: run["code_bytes"]], payload[run["code_bytes"] :]
        del payload
        calls = run["entry"] is not None
        if calls:
            os.dup2(fds[5], CONTROL_FD)
        first_closed = ANSWER_FD + 1 if calls else CONTROL_FD
        os.write(gate, b"armed %d\n" % (time.process_time_ns() // 1000))
    except BaseException as error:
        os.write(gate, f"failed {error!r}\n".encode()[:4000])
        os._exit(70)
    close_all_from(first_closed)
    if calls:
        run_calls(code, rest, run)
    else:
        run_program(code)


def serve(control, config, has_landlock):
    while True:
        message, fds, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, DESCRIPTORS_MAX)
        if not message:
            os._exit(0)
        run = json.loads(message)["run"]
        # The next child is init of a new PID namespace; going back to our own lets the one after it be so too, as a
        # second unshare is refused while the two differ.
        check(libc.unshare(CLONE_NEWPID), "unshare the PID namespace")
        pid = os.fork()
        if pid == 0:
            try:
                become_test(config, run, fds, has_landlock)
            finally:
                os._exit(1)
        check(libc.setns(NAMESPACE_FD, CLONE_NEWPID), "setns to the own PID namespace")
        for fd in fds:
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        socket.send_fds(control, [b'{"started":%d}' % pid], [pidfd])
        os.close(pidfd)
        _, status, usage = os.wait4(pid, 0)
        cpu_us = round((usage.ru_utime + usage.ru_stime) * 1e6)
        said = {"exited": status, "cpu_us": cpu_us, "rss_kib": usage.ru_maxrss}
        control.send(json.dumps(said).encode())


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def zygote_main():
    control = socket.socket(fileno=CONTROL_FD)
    try:
        has_landlock = is_open(LANDLOCK_FD)
        config = prepare(json.loads(control.recv(MESSAGE_BYTES_MAX))["config"])
        gc.collect()
        gc.freeze()
        control.send(b'{"ready":true}')
        serve(control, config, has_landlock)
    except BaseException as error:
        control.send(json.dumps({"failed": repr(error)[:1000]}).encode())
        os._exit(1)


zygote_main()
