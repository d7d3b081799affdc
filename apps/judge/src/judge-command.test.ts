import { expect, test } from "bun:test";
import { judgeCommand } from "./judge-command.ts";

async function judge(rows: readonly (object | string)[], ...flags: readonly string[]) {
  const out: string[] = [];
  const errors: string[] = [];
  const text = rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))).join("\n");
  const exitCode = await judgeCommand(["rows.jsonl", ...flags], {
    readText: async () => text,
    writeOut: (piece) => void out.push(piece),
    writeError: (piece) => void errors.push(piece),
    now: () => 0,
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
  expect(Object.keys(lines[1])).toEqual(["id", "score", "kind", "method", "detail"]);
  expect(lines[5].detail).toBe('unknown task "unheard-of"; there are math, equal');
  expect(lines[6].detail).toContain('"response"');
  expect(lines[7].detail).toContain("line 8");
  expect(errors).toBe(
    "8 rows in 0.0 s (mode strict): 4 fault, 2 correct, 1 no-answer, 1 wrong, 50.0% of the graded correct\n",
  );
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
