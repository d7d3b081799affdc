# Mode `stdin`: the program as `__main__`, and an end of the process that looks like plain CPython's.
import atexit
import builtins
import gc
import linecache
import threading
import traceback

PROGRAM_NAME = "solution.py"


def remember_source(code):
    """Lets tracebacks quote the program's lines although no such file exists."""
    text = code.decode("utf-8", "replace")
    linecache.cache[PROGRAM_NAME] = (len(text), None, text.splitlines(True), PROGRAM_NAME)


def report(error, code, hook=sys.excepthook, print_exception=traceback.print_exception):
    """Prints what ended the program and returns its exit code."""
    if isinstance(error, SystemExit):
        status = error.code
        if status is None:
            return 0
        if isinstance(status, int):
            return status & 0xFF
        print(status, file=sys.stderr)
        return 1
    # The first frame of the traceback is the one that executes the program.
    stack = error.__traceback__.tb_next if error.__traceback__ else None
    if sys.excepthook is not hook:
        sys.excepthook(type(error), error, stack)
    elif isinstance(error, RecursionError):
        print_exception(type(error), error, stack, limit=20, file=sys.stderr)
    else:
        print_exception(type(error), error, stack, file=sys.stderr)
    return code


def make_flush():
    """A function that flushes the standard streams and says whether stdout could be flushed."""
    own = (sys.stdout, sys.stderr)
    system = sys

    def flush():
        flushed = True
        for stream in (system.stdout, system.stderr) + own:
            try:
                if stream is not None and not stream.closed:
                    stream.flush()
            except BaseException:
                flushed = stream is system.stderr and flushed
        return flushed

    return flush


def clear_names(space):
    """Drops a module's names in CPython's order, so that files that the program left open are flushed."""
    for name in list(space):
        if name.startswith("_") and not name.startswith("__"):
            space[name] = None
    for name in list(space):
        if name != "__builtins__":
            space[name] = None


def run_program(code):
    """Runs the program as `__main__` and ends the process with its exit code."""
    end, flush, collect, stop_threads, run_exit_functions = (
        os._exit,
        make_flush(),
        gc.collect,
        threading._shutdown,
        atexit._run_exitfuncs,
    )
    system, clear, base_exception = sys, clear_names, BaseException
    main = types.ModuleType("__main__")
    main.__file__ = PROGRAM_NAME
    main.__builtins__ = builtins
    sys.modules["__main__"] = main
    sys.argv = [PROGRAM_NAME]
    sys.orig_argv = [sys.executable, PROGRAM_NAME]
    remember_source(code)
    exit_code = 0
    try:
        exec(compile(code, PROGRAM_NAME, "exec"), main.__dict__)
    except base_exception as error:
        try:
            exit_code = report(error, 1)
        except base_exception:
            exit_code = 1
    for last in (stop_threads, run_exit_functions):
        try:
            last()
        except base_exception:
            pass
    flushed = flush()
    try:
        clear(main.__dict__)
        system.stdin, system.stdout, system.stderr = system.__stdin__, system.__stdout__, system.__stderr__
        collect()
    except base_exception:
        pass
    flushed = flush() and flushed
    # CPython ends with 120 when the standard streams could not be flushed.
    end(exit_code or (0 if flushed else 120))


