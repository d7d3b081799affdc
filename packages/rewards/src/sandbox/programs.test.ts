// What honest programs may do, with the real daemon in the best tier of this machine: everything that runs under plain
// Python on a judge must run the same in here.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Limits } from "./protocol.ts";
import { type Sandbox, startSandbox } from "./sandbox.ts";
import type { Tagged } from "./tagged.ts";

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox();
}, 60_000);
afterAll(() => sandbox.close());

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const runProgram = (code: string, stdin: string | Uint8Array = "", limits: Partial<Limits> = {}) =>
  sandbox.run({ mode: "stdin", code, stdin }, limits);
const call = (code: string, entry: string, calls: readonly (readonly Tagged[])[]) =>
  sandbox.run({ mode: "calls", code, entry, calls });

const timeZone = ["a time zone", "from zoneinfo import ZoneInfo\nprint(ZoneInfo('UTC'))", "", "UTC\n"] as const;

/** Programs that copy, sum or print in the ways that solutions do; each must exit with 0 and print what stands beside it. */
const idioms: readonly (readonly [string, string, string, string])[] = [
  ["input()", "print(int(input()) + int(input()))", "1\n2\n", "3\n"],
  ["sys.stdin", "import sys\nfor line in sys.stdin: print(line.strip()[::-1])", "ab\ncd\n", "ba\ndc\n"],
  ["sys.stdin.buffer", "import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))", "1 2 3", "6\n"],
  [
    "sys.stdin.buffer.readline",
    "import sys\nr = sys.stdin.buffer.readline\nprint(r(), r(), r())",
    "a\nb",
    "b'a\\n' b'b' b''\n",
  ],
  ["open(0)", "print(open(0).read().upper(), end='')", "abc\n", "ABC\n"],
  ["os.read(0)", "import os\nprint(len(os.read(0, 1 << 20)))", "x".repeat(1000), "1000\n"],
  ["os.write(1)", "import os\nos.write(1, b'raw\\n')", "", "raw\n"],
  ["sys.stdout.write", "import sys\nsys.stdout.write('a')\nsys.stdout.write('b')", "", "ab"],
  ["sys.stdout.buffer", "import sys\nsys.stdout.buffer.write(b'\\x00\\x01')", "", "\x00\x01"],
  ["the guard of __main__", "def main(): print('main')\nif __name__ == '__main__': main()", "", "main\n"],
  ["exit at the end", "import sys\nprint('x')\nsys.exit(0)", "", "x\n"],
  ["exit()", "print('x')\nexit()", "", "x\n"],
  ["quit() in a function", "def f():\n    print('x'); quit()\nf()", "", "x\n"],
  ["os._exit after a flush", "import os, sys\nprint('x'); sys.stdout.flush(); os._exit(0)", "", "x\n"],
  ["atexit", "import atexit\natexit.register(print, 'last')\nprint('first')", "", "first\nlast\n"],
  [
    "a thread with a large stack",
    "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 27)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nt = threading.Thread(target=lambda: print(f(50000)))\nt.start(); t.join()",
    "",
    "50000\n",
  ],
  [
    "deep recursion on the main thread",
    "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(30000))",
    "",
    "30000\n",
  ],
  [
    "a stack without a limit",
    "import resource, sys\nresource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(30000))",
    "",
    "30000\n",
  ],
  ["a large memory", "a = list(range(10**7))\nprint(len(a))", "", "10000000\n"],
  [
    "the usual modules",
    "import bisect, collections, decimal, fractions, functools, heapq, itertools, math, operator, random, re, statistics, string, typing, copy, datetime, json, array, queue, time, io, dataclasses, enum, abc, contextlib, textwrap, unittest, cmath, numbers, hashlib, struct\nprint('ok')",
    "",
    "ok\n",
  ],
  ["a file in the working folder", "open('f', 'w').write('x')\nprint(open('f').read())", "", "x\n"],
  [
    "a temporary file",
    "import tempfile\nf = tempfile.TemporaryFile(); f.write(b'x'); f.seek(0)\nprint(f.read())",
    "",
    "b'x'\n",
  ],
  [
    "asyncio",
    "import asyncio\nasync def f():\n    await asyncio.sleep(0.01)\n    print('x')\nasyncio.run(f())",
    "",
    "x\n",
  ],
  [
    "a pool of threads",
    "from concurrent.futures import ThreadPoolExecutor\nprint(sum(ThreadPoolExecutor(4).map(abs, [-1, 2])))",
    "",
    "3\n",
  ],
  ["redirected stdin", "import io, sys\nsys.stdin = io.StringIO('7')\nprint(input())", "ignored\n", "7\n"],
  [
    "redirected stdout",
    "import io, sys\nold = sys.stdout\nsys.stdout = io.StringIO()\nprint('hidden')\nsys.stdout = old\nprint('seen')",
    "",
    "seen\n",
  ],
  ["stderr beside stdout", "import sys\nprint('noise', file=sys.stderr)\nprint('x')", "", "x\n"],
  ["no input at all", "import sys\nprint(repr(sys.stdin.read()))", "", "''\n"],
  ["unicode", "print(input()[::-1])", "äß😀\n", "😀ßä\n"],
  ["hashes that do not change", "print(hash('a') == hash('a'), len({'a', 'b'}))", "", "True 2\n"],
  [
    "a pickle and a deep copy",
    "import copy, pickle\nprint(copy.deepcopy(pickle.loads(pickle.dumps([1]))))",
    "",
    "[1]\n",
  ],
  [
    "inspect of its own source",
    "import inspect\ndef f(): pass\nprint(inspect.getsource(f), end='')",
    "",
    "def f(): pass\n",
  ],
  ["its own arguments", "import sys\nprint(len(sys.argv))", "", "1\n"],
  // Where the host has time zones.
  ...(existsSync("/usr/share/zoneinfo/UTC") ? [timeZone] : []),
];

test("the idioms of solutions run as under plain Python", async () => {
  const runs = await Promise.all(idioms.map(([, code, stdin]) => runProgram(code, stdin)));
  const came = runs.map(({ outcome, exitCode, stdout, stderr }, index) => [
    idioms[index]?.[0],
    outcome,
    exitCode,
    text(stdout),
    outcome === "exited" && exitCode === 0 ? "" : stderr,
  ]);
  expect(came).toEqual(idioms.map(([name, , , printed]) => [name, "exited", 0, printed, ""]));
}, 120_000);

test("plain Python prints the same for every idiom", async () => {
  const python = Bun.spawnSync(["python3", "-c", "import sys; print(sys.executable)"]).stdout.toString().trim();
  // Python finds no source of what stands on its command line.
  const known = idioms.filter(([name]) => !name.startsWith("inspect"));
  const cwd = mkdtempSync(join(tmpdir(), "gradus-idioms-"));
  try {
    const came = known.map(async ([name, code, stdin]) => {
      const pipes = { stdin: Buffer.from(stdin), stdout: "pipe", stderr: "ignore" } as const;
      const child = Bun.spawn([python, "-c", code], { ...pipes, cwd });
      return [name, await new Response(child.stdout).text()];
    });
    expect(await Promise.all(came)).toEqual(known.map(([name, , , printed]) => [name, printed]));
  } finally {
    rmSync(cwd, { recursive: true });
  }
}, 120_000);

test("large input and large output at once, read late or never", async () => {
  const large = "0123456789abcde\n".repeat(500_000);
  const [copied, unread, late] = await Promise.all([
    runProgram("import sys\nfor line in sys.stdin: sys.stdout.write(line)", large),
    runProgram("print('done')", large),
    runProgram("import sys\nprint('x' * 1_000_000)\nprint(len(sys.stdin.read()))", large),
  ]);
  expect(text(copied.stdout)).toBe(large);
  expect([unread.outcome, text(unread.stdout)]).toEqual(["exited", "done\n"]);
  expect(text(late.stdout)).toBe(`${"x".repeat(1_000_000)}\n${large.length}\n`);
}, 60_000);

test("output up to the cap is whole; one byte more is over it", async () => {
  const [full, over] = await Promise.all(
    [100_000, 100_001].map((count) => runProgram(`print("x" * ${count}, end="")`, "", { outputBytes: 100_000 })),
  );
  expect([full?.outcome, full?.stdout.length]).toEqual(["exited", 100_000]);
  expect(over?.outcome).toBe("output-limit");
});

test("errors of programs are told: codes, signals, tracebacks, syntax", async () => {
  const [raised, exited, died, odd] = await Promise.all([
    runProgram("x = 1\nraise ValueError('here')"),
    runProgram("import sys\nsys.exit(7)"),
    runProgram("import ctypes\nctypes.string_at(0)"),
    runProgram("def f(:\n"),
  ]);
  expect([raised?.outcome, raised?.exitCode, raised?.stderr]).toEqual([
    "exited",
    1,
    expect.stringContaining("ValueError: here"),
  ]);
  expect(raised?.stderr).toContain("line 2");
  expect([exited?.outcome, exited?.exitCode]).toEqual(["exited", 7]);
  expect([died?.outcome, died?.signal]).toEqual(["signalled", 11]);
  expect([odd?.outcome, odd?.exitCode, odd?.stderr]).toEqual(["exited", 1, expect.stringContaining("SyntaxError")]);
});

test("functions and methods are called, in order, and a guard of __main__ does not run", async () => {
  const solution =
    "class Solution:\n    def __init__(self):\n        self.count = 0\n    def twice(self, n):\n        self.count += 1\n        return [n * 2, self.count]\nif __name__ == '__main__':\n    raise SystemExit(9)";
  const method = await call(solution, "twice", [[1], [2]]);
  // A new object for each call.
  expect(method.answers).toEqual([{ value: [2, 1] }, { value: [4, 1] }]);
  const plain = await call("def div(a, b):\n    return a / b", "div", [
    [6, 4],
    [1, 0],
    [{ f: "inf" }, 2],
  ]);
  expect(plain.answers).toEqual([
    { value: { f: "1.5" } },
    { error: "ZeroDivisionError", message: "division by zero" },
    { value: { f: "inf" } },
  ]);
});

test("every tagged value goes in and comes back as it was", async () => {
  const values: Tagged[] = [
    null,
    true,
    0,
    -9007199254740991,
    { i: "9007199254740993" },
    { f: "0.1" },
    { f: "-0.0" },
    { f: "nan" },
    "a\ud800\u0000ü",
    [1, [2]],
    { t: [1, { t: [] }] },
    { s: [1] },
    { fs: ["a"] },
    {
      d: [
        ["k", [1]],
        [{ t: [1, 2] }, null],
      ],
    },
    { c: ["1.0", "-2.5"] },
    { b: "00ff" },
  ];
  const { answers } = await call(
    "def same(value):\n    return value",
    "same",
    values.map((value) => [value]),
  );
  expect(answers).toEqual(values.map((value) => ({ value })));
});

test("a run is cancelled while it runs and while it waits, and the next ones go on", async () => {
  const abort = new AbortController();
  const sleepers = Array.from({ length: 4 * sandbox.workers }, () =>
    sandbox.run({ mode: "stdin", code: "import time\ntime.sleep(1000)", stdin: "" }, {}, abort.signal),
  );
  const next = runProgram("print('next')");
  await Bun.sleep(100);
  abort.abort();
  expect((await Promise.all(sleepers)).map(({ outcome }) => outcome)).toEqual(sleepers.map(() => "cancelled"));
  expect(text((await next).stdout)).toBe("next\n");
}, 60_000);

test("judging does not hold up the event loop", async () => {
  let turns = 0;
  const clock = setInterval(() => turns++, 1);
  const input = "x".repeat(100_000);
  const runs = await Promise.all(Array.from({ length: 200 }, () => runProgram("print(len(input()))", input)));
  clearInterval(clock);
  expect(runs.every(({ stdout }) => text(stdout) === "100000\n")).toBe(true);
  // Neighbours may take the cores for a while; what is ruled out is waiting for runs.
  expect(turns).toBeGreaterThan(10);
}, 60_000);
