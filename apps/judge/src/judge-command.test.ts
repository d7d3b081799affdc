import { expect, test } from "bun:test";
import type { Sandbox } from "@gradus/rewards";
import { judgeCommand } from "./judge-command.ts";

/** Every program prints its input, every function gives its first argument. */
const echo: Sandbox = {
  tier: "B",
  workers: 2,
  run: async (program) => ({
    outcome: "exited",
    exitCode: 0,
    signal: null,
    cpuMs: 1,
    wallMs: 1,
    memoryPeakMiB: 1,
    stdout: new TextEncoder().encode(program.mode === "stdin" ? String(program.stdin) : ""),
    stderr: "",
    answers: program.mode === "calls" ? program.calls.map(([value = null]) => ({ value })) : [],
    tier: "B",
  }),
  processId: () => undefined,
  close: async () => {},
};

async function judge(rows: readonly (object | string)[], ...flags: readonly string[]) {
  const out: string[] = [];
  const errors: string[] = [];
  const text = rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))).join("\n");
  const exitCode = await judgeCommand(["rows.jsonl", ...flags], {
    readText: async () => text,
    writeOut: (piece) => void out.push(piece),
    writeError: (piece) => void errors.push(piece),
    now: () => 0,
    startSandbox: async () => echo,
  });
  return { exitCode, out: out.join(""), errors: errors.join("") };
}

test("one line a row, in order, whatever the row", async () => {
  const { exitCode, out, errors } = await judge(
    [
      { id: "slow", task: "equal", gold: "\\tan 15^\\circ", pred: "2-\\sqrt3" },
      { id: 2, task: "math", gold: "5", response: "\\boxed{6}" },
      { id: "thought", task: "math", gold: "5", response: "\\boxed{5}", prompt: "1+4 <think>\n" },
      { id: "any", task: "equal", gold: ["", "1/2"], pred: "0.5" },
      { id: "nothing", task: "equal", gold: null, pred: "0" },
      { id: "code", task: "unheard-of", code: "pass" },
      { id: "torn", task: "math", gold: "5" },
      "not json",
    ],
    "--json",
  );
  expect(exitCode).toBe(0);
  const lines = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(lines.map(({ id, score, kind }) => [id, score, kind])).toEqual([
    ["slow", 1, "correct"],
    [2, 0, "wrong"],
    ["thought", 0, "no-answer"],
    ["any", 1, "correct"],
    ["nothing", null, "fault"],
    ["code", null, "fault"],
    ["torn", null, "fault"],
    [null, null, "fault"],
  ]);
  expect(Object.keys(lines[1])).toEqual(["id", "score", "kind", "method", "detail", "tier"]);
  expect(lines[5].detail).toBe('unknown task "unheard-of"; there are math, equal, code, evalplus');
  expect(lines[6].detail).toContain('"response"');
  expect(lines[7].detail).toContain("line 8");
  expect(errors).toBe(
    "8 rows in 0.0 s (mode strict): 4 fault, 2 correct, 1 no-answer, 1 wrong, 50.0% of the graded correct\n",
  );
});

test("programs are judged by their tests", async () => {
  const tests = { inputs: ["1\n", "2\n"], outputs: ["1.0", "3"] };
  const { out } = await judge([
    { id: "stdin", task: "code", code: "…", tests: { inputs: ["1\n"], outputs: ["1.0"] } },
    { id: "second", task: "code", response: "```python\n…\n```", tests },
    { id: "called", task: "code", code: "…", tests: { inputs: ["[1, 2]"], outputs: ["[1, 2.0]"], fn_name: "f" } },
    { id: "prose", task: "code", response: "no program", tests },
    { id: "torn", task: "code", code: "…", tests: { inputs: ["1"], outputs: [] } },
    { id: "bare", task: "code", tests },
    { id: "plus", task: "evalplus", dataset: "mbpp", task_id: "Mbpp/2", code: "…" },
  ]);
  expect(out.split("\n").slice(0, 7)).toEqual([
    "stdin  1  correct  stdin",
    'second  0  wrong  stdin  test 2 of 2: line 1: "2", expected "3"',
    "called  1  correct  functional",
    "prose  0  no-answer    no fenced block with a program after the thought",
    "torn  -  fault    inputs and outputs: 1 against 0; expected as many of both",
    'bare  -  fault    no program; expected "response" or "code"',
    "plus  -  fault    rows of evalplus need --data FOLDER with mbpp_plus in it",
  ]);
});

test("an integer and a whole float of the tests' inputs stay apart", async () => {
  const line =
    '{"id": 1, "task": "code", "code": "…", "tests": {"inputs": [[2.0], [2]], "outputs": [2, 3], "fn_name": "f"}}';
  expect((await judge([line])).out).toContain("test 2 of 2: 2, expected 3");
  expect((await judge([line.replace("2, 3]", "3, 2]")])).out).toContain("test 1 of 2: 2.0, expected 3");
});

test("a mode and a case's options are taken", async () => {
  const rows = [{ id: 1, task: "equal", gold: "4.123105625617661", pred: "$\\sqrt{17}$", opts: { precision: 5 } }];
  expect((await judge(rows, "--mode", "mathverify")).out).toBe(
    "1  1  correct  exact\n1 rows in 0.0 s (mode mathverify): 1 correct, 100.0% of the graded correct\n",
  );
  expect((await judge(rows, "--mode=strict")).out).toContain("1  0  wrong");
});

test("a wrong command says what was expected", async () => {
  expect(await judge([], "--mode", "loose")).toEqual({
    exitCode: 2,
    out: "",
    errors: "error: judge: --mode loose: expected one of strict, mathverify, acereason\n",
  });
  expect((await judge([], "--jsn")).errors).toContain("unknown argument --jsn");
});
