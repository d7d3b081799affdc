"""Runs the parts of the GPU bundle, each within its own time, and prints one table whose last line is JSON.

A part that fails or runs over its time does not stop the others. The whole ends within nine minutes: what is still running is ended, and
what was found is printed; the same where the run itself is asked to end. Without a GPU the parts that need one say so, and `cpu` runs.
"""

import argparse
import json
import os
import signal
import sys
import time

from machine import HERE, Bundle, find_gpu
from parts import PARTS, Part
from report import Report

SECONDS_MAX = 530
# Seconds kept for the table.
SECONDS_OF_END = 5


class Ended(BaseException):
    """The run's time is over, or a signal ends it: no part catches this."""


def end_by(signal_number, _):
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise Ended(f"its time of {arguments.seconds} seconds" if signal_number == signal.SIGALRM else signal.Signals(signal_number).name)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=list(PARTS), action="append", help="runs this part alone; may be given more than once")
    parser.add_argument("--out", help="writes the JSON line to this file, too; until then FILE.partial holds the rows found, one a line")
    parser.add_argument("--seconds", type=int, default=SECONDS_MAX, help="ends the run after so many seconds (%(default)s)")
    given = parser.parse_args()
    if given.seconds <= SECONDS_OF_END:
        parser.error(f"--seconds is {given.seconds}, expected more than {SECONDS_OF_END}")
    return given


def run_part(name, bundle, report, seconds):
    """One part, until `seconds` from now."""
    began = time.monotonic()
    work, _ = PARTS[name]
    report.note(name, "passed")
    try:
        work(Part(name, report, bundle, began + seconds, name == "cpu"))
    except Ended:
        report.note(name, "failed", "it was cut off")
        raise
    except Exception as error:  # One part never stops the others.
        report.note(name, "failed", f"{type(error).__name__}: {error}")
    finally:
        report.states[name]["seconds"] = round(time.monotonic() - began, 1)


def run_parts(report):
    carried = report.bundle["parts"]
    bundle = Bundle()
    report.device, report.reason = find_gpu(bundle)
    # A GPU's time is not spent on what runs without one.
    alone = [] if report.device is None else ["cpu"]
    chosen = arguments.part or [name for name, (_, seconds) in PARTS.items() if name in carried and seconds > 0 and name not in alone]
    for name in chosen:
        left = arguments.seconds - SECONDS_OF_END - report.seconds()
        if name not in carried:
            report.note(name, "missing", f"this bundle was made without it; `bun run gpu-pack --part {name}` makes one with it")
        elif name != "cpu" and report.device is None:
            report.note(name, "missing", f"it needs an NVIDIA GPU ({report.reason})")
        else:
            run_part(name, bundle, report, min(left, PARTS[name][1]) if len(chosen) > 1 and PARTS[name][1] > 0 else left)


arguments = read_arguments()
with open(os.path.join(HERE, "bundle.json")) as file:
    report = Report(json.load(file), arguments.out)
try:
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, end_by)
    signal.alarm(arguments.seconds)
    run_parts(report)
except Ended as ended:
    report.note("whole", "failed", f"ended by {ended}")
signal.alarm(0)
report.finish()
# Threads that still follow an output do not keep the run alive.
sys.stdout.flush()
os._exit(1 if report.failed() else 0)
