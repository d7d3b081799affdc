// What ptxas says of each kernel, against what kernels/budgets.json allows: registers and spilled bytes creep up unseen otherwise.
import { z } from "zod";

/** Registers of a thread, and bytes that it stores to and loads from local memory for want of registers. */
const usageSchema = z.strictObject({ registers: z.number().int(), spillBytes: z.number().int() });
/** Architecture → kernel → most it may use. */
const budgetsSchema = z.record(z.string(), z.record(z.string(), usageSchema));

export type Usage = z.infer<typeof usageSchema>;
export type Budgets = z.infer<typeof budgetsSchema>;

/** Reads kernels/budgets.json. */
export function parseBudgets(text: string): Budgets {
  return budgetsSchema.parse(JSON.parse(text));
}

/** Kernel → usage, out of what `nvcc -Xptxas -v` prints. */
export function usageOf(output: string): Map<string, Usage> {
  const found = new Map<string, Usage>();
  let kernel = "";
  let spillBytes = 0;
  for (const line of output.split("\n")) {
    kernel = /Compiling entry function '(\w+)'/.exec(line)?.[1] ?? kernel;
    const spills = /(\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (spills !== null) spillBytes = Number(spills[1]) + Number(spills[2]);
    const registers = /Used (\d+) registers/.exec(line)?.[1];
    if (registers !== undefined && kernel !== "") found.set(kernel, { registers: Number(registers), spillBytes });
  }
  return found;
}

/** Every kernel that is over its budget or has none, a line each. */
export function overBudget(arch: string, used: ReadonlyMap<string, Usage>, budgets: Budgets): string[] {
  const record = "if it must be, record it with `bun scripts/kernels.ts --record`";
  return [...used].flatMap(([kernel, { registers, spillBytes }]) => {
    const budget = budgets[arch]?.[kernel];
    if (budget === undefined) return [`${kernel} for ${arch} has no budget in kernels/budgets.json: ${record}`];
    const over: string[] = [];
    if (spillBytes > budget.spillBytes) over.push(`spills ${spillBytes} bytes, its budget is ${budget.spillBytes}`);
    if (registers > budget.registers) over.push(`takes ${registers} registers, its budget is ${budget.registers}`);
    return over.map((what) => `${kernel} for ${arch} ${what}: ${record}`);
  });
}
