import { expect, test } from "bun:test";
import { overBudget, parseBudgets, usageOf } from "./kernel-budgets.ts";

const output = `ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'swiglu' for 'sm_80'
ptxas info    : Function properties for swiglu
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 34 registers, used 1 barriers
ptxas info    : Compile time = 4.1 ms
ptxas info    : Compiling entry function 'attention_128' for 'sm_80'
ptxas info    : Function properties for attention_128
    16 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers
`;

test("registers and spills are read for each kernel", () => {
  expect([...usageOf(output)]).toEqual([
    ["swiglu", { registers: 34, spillBytes: 0 }],
    ["attention_128", { registers: 255, spillBytes: 32 }],
  ]);
});

test("more than the budget is a finding, less is none", () => {
  const budgets = parseBudgets(
    '{"sm_80":{"swiglu":{"registers":34,"spillBytes":0},"attention_128":{"registers":255,"spillBytes":32}}}',
  );
  expect(overBudget("sm_80", usageOf(output), budgets)).toEqual([]);
  const used = new Map([["swiglu", { registers: 35, spillBytes: 4 }]]);
  expect(overBudget("sm_80", used, budgets)).toEqual([
    expect.stringContaining("swiglu for sm_80 spills 4 bytes, its budget is 0"),
    expect.stringContaining("swiglu for sm_80 takes 35 registers, its budget is 34"),
  ]);
});

test("a kernel without a budget is a finding that says how to record one", () => {
  const [finding] = overBudget("sm_90a", usageOf(output), {});
  expect(finding).toContain("swiglu for sm_90a has no budget");
  expect(finding).toContain("--record");
});

test("a malformed file of budgets is refused", () => {
  expect(() => parseBudgets('{"sm_80":{"swiglu":{"registers":34}}}')).toThrow("spillBytes");
});
