"""What a run of the bundle found: rows as they come, each printed at once and kept, and in the end the goals and one line of JSON.

Whatever ends the run, what was found before is not lost: every row is on stdout by then, and with --out in a file beside, a line each.
"""

import json
import os
import sys
import threading
import time

from goals import judge, verdicts


class Report:
    def __init__(self, bundle, out):
        self.bundle, self.out = bundle, out
        self.device, self.reason = None, ""
        self.rows, self.states = [], {}
        self.began = time.monotonic()
        # Rows come from the threads that follow a program's output.
        self.lock = threading.Lock()
        self.partial = open(f"{out}.partial", "w") if out else None

    def seconds(self):
        return round(time.monotonic() - self.began, 1)

    def add(self, row):
        """Takes a row: a figure (`ours`, `unit`) or a check (`ok`). A row of small sizes means nothing and is not judged."""
        with self.lock:
            self.rows.append(row)
            if "ours" in row and not row.get("small"):
                judge(row, self.rows)
            # Kept before it is shown: who sees a row and ends the run has it.
            if self.partial:
                self.partial.write(json.dumps(row) + "\n")
                self.partial.flush()
            print(line_of(row), flush=True)

    def note(self, part, state, text=""):
        """A part's outcome: the worst of what is told of it stands."""
        order = ["passed", "missing", "failed"]
        known = self.states.setdefault(part, {"state": "passed", "notes": []})
        known["state"] = max(known["state"], state, key=order.index)
        if text:
            known["notes"].append(text)
            print(f"{part}: {state}: {text}", file=sys.stderr, flush=True)

    def failed(self):
        return any(state["state"] == "failed" for state in self.states.values())

    def finish(self):
        """Prints the goals, the parts, and everything as one line of JSON."""
        goals = verdicts([row for row in self.rows if not row.get("small")])
        for goal in goals:
            words = {True: "met", False: "NOT MET", None: "not run" if goal["rows"] == 0 else "not told"}[goal["met"]]
            print(f"goal      {goal['goal'][:84]:84} {words:>10} {goal['to_reach']}")
        for part, state in self.states.items():
            print(f"{part:9} {state['state']}" + "".join(f"; {text}" for text in state["notes"]))
        whole = {**self.bundle, "device": self.device, "no_device": self.reason or None, "parts": self.states, "rows": self.rows}
        line = json.dumps({**whole, "goals": goals, "seconds": self.seconds()})
        print(line, flush=True)
        if self.out:
            with open(f"{self.out}.tmp", "w") as file:
                file.write(line + "\n")
            os.rename(f"{self.out}.tmp", self.out)
            self.partial.close()
            os.remove(f"{self.out}.partial")


def line_of(row):
    """A row of the table."""
    note = row.get("note") or ""
    if "ours" not in row:
        return f"{row['part']:9} {row['work'][:84]:84} {'ok' if row['ok'] else 'FAILED':>10} {note}"
    peers = ", ".join(f"{name} {value:.4g}" for name, value in row.get("peers", {}).items()) or "–"
    share = f"{100 * row['of_limit']:.0f}% of limit" if row.get("of_limit") else ""
    met = {True: "met", False: "NOT MET", None: ""}[row.get("met")]
    figure = f"{row['ours']:10.4g} {row['unit']:8} {peers:44} {share:14} {met:7} {row.get('to_reach', '')}"
    return f"{row['part']:9} {row['work'][:84]:84} {figure} {note}".rstrip()
