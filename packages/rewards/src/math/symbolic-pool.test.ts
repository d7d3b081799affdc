import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { isAlive } from "../sandbox/__fixtures__/processes.ts";
import type { SymbolicQuestion } from "./decide.ts";
import { type SymbolicPool, symbolicPool } from "./symbolic-pool.ts";

let pool: SymbolicPool;
afterEach(() => pool.close());

const equalRoots: SymbolicQuestion = {
  values: [
    [
      ["Sqrt", 8],
      ["Multiply", 2, ["Sqrt", 2]],
    ],
  ],
  complexAllowed: false,
};
// Works for some 16 seconds; the guards in decide.ts keep such questions away.
const stuck: SymbolicQuestion = { values: [[["Power", 9, ["Power", 9, ["Power", 9, 9]]], 5]], complexAllowed: false };

test("answers at 50 digits", async () => {
  pool = symbolicPool({ workers: 1 });
  expect(await pool.ask(equalRoots)).toBe("equal");
  const near: SymbolicQuestion = {
    values: [[["Sqrt", 2], { num: "1.4142135623730950488016887242096980" }]],
    complexAllowed: false,
  };
  expect(await pool.ask(near)).toBe("different");
  const [x, y] = ["v_x", "v_y"];
  const square: SymbolicQuestion = {
    values: [],
    simplify: [
      ["Power", ["Add", x, y], 2],
      ["Add", ["Power", x, 2], ["Multiply", 2, x, y], ["Power", y, 2]],
    ],
    complexAllowed: true,
  };
  expect(await pool.ask(square)).toBe("equal");
  expect(await pool.ask({ values: [["Nonsense", 1]], complexAllowed: false })).toBe("different");
});

test("a stuck question is a fault after two tries, and holds up no other", async () => {
  pool = symbolicPool({ workers: 2 });
  await Promise.all([pool.ask(equalRoots), pool.ask(equalRoots)]);
  const ended: string[] = [];
  const slow = pool.ask(stuck).then((answer) => {
    ended.push("stuck");
    return answer;
  });
  const others = await Promise.all(Array.from({ length: 20 }, () => pool.ask(equalRoots)));
  ended.push("others");
  expect(others.every((answer) => answer === "equal")).toBe(true);
  expect(await slow).toEqual({ fault: "the symbolic worker died or worked over 1000 ms, 2 times" });
  expect(ended).toEqual(["others", "stuck"]);
  expect(await pool.ask(equalRoots)).toBe("equal");
});

test("workers that are killed while they work are replaced, and their questions asked again", async () => {
  pool = symbolicPool({ workers: 2 });
  await pool.ask(equalRoots);
  const answers = Promise.all(Array.from({ length: 50 }, () => pool.ask(equalRoots)));
  for (const id of pool.processIds()) process.kill(id, "SIGKILL");
  const results = await answers;
  expect(results.every((answer) => answer === "equal")).toBe(true);
  expect(pool.processIds().length).toBeGreaterThan(0);
});

test("a program that forgets its pool still ends, and its workers with it", async () => {
  pool = symbolicPool({ workers: 1 });
  const program = `import { symbolicPool } from ${JSON.stringify(join(import.meta.dir, "symbolic-pool.ts"))};
    const pool = symbolicPool({ workers: 1 });
    console.log(await pool.ask(${JSON.stringify(equalRoots)}), ...pool.processIds());`;
  const child = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe" });
  const [answer, id] = (await new Response(child.stdout).text()).trim().split(" ");
  expect([answer, await child.exited]).toEqual(["equal", 0]);
  expect(Number(id)).toBeGreaterThan(0);
  while (isAlive(Number(id))) await Bun.sleep(1);
});

test("a closed pool gives faults", async () => {
  pool = symbolicPool({ workers: 1 });
  const open = pool.ask(equalRoots);
  pool.close();
  expect(await open).toEqual({ fault: "the symbolic pool is closed" });
  expect(await pool.ask(equalRoots)).toEqual({ fault: "the symbolic pool is closed" });
});
