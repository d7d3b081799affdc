// Builds the simulator and runs the kernels' tests in it; then breaks the matmul's own source in every way that the simulator
// promises to find, and the optimizer's rounding, and sees each found.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSimulator, kernelTestsPath } from "../../scripts/kernel-compile.ts";

const root = join(import.meta.dir, "..", "..");
const compileMs = 300_000;
let broken = "";

beforeAll(async () => {
  await buildSimulator(root);
  // A tree of its own for broken sources; it begins with the objects of the whole ones.
  broken = mkdtempSync(join(tmpdir(), "gradus-kernels-"));
  cpSync(join(root, "build", "kernels"), join(broken, "build", "kernels"), { recursive: true });
}, compileMs);

afterAll(() => rmSync(broken, { recursive: true, force: true }));

test(
  "the simulator finds planted faults, and kernels are right in it",
  () => {
    const { exitCode, stdout } = Bun.spawnSync([kernelTestsPath(root)]);
    const lines = stdout.toString().split("\n");
    expect(lines.filter((line) => line.startsWith("failed"))).toEqual([]);
    expect(lines.filter((line) => line.startsWith("ok")).length).toBeGreaterThan(400);
    expect(exitCode).toBe(0);
  },
  compileMs,
);

type Probe = "gemm" | "adamw";
type Fault = { probe: Probe; name: string; file: string; right: string; wrong: string; found: RegExp };

const faults: readonly Fault[] = [
  {
    probe: "gemm",
    name: "a removed barrier",
    file: "gemm/block_tile.cuh",
    right: "      __syncthreads();\n      if (index + 1 < stages)",
    wrong: "      if (index + 1 < stages)",
    found: /race: thread|is in flight/,
  },
  {
    probe: "gemm",
    name: "a wait for one group too few",
    file: "gemm/block_tile.cuh",
    right: "      ptx::cp_async_wait_group<STAGES - 2>();",
    wrong: "      ptx::cp_async_wait_group<STAGES - 1>();",
    found: /is in flight/,
  },
  {
    probe: "gemm",
    name: "a stage overwritten while it is read",
    file: "gemm/block_tile.cuh",
    right: "copy_stage(index + STAGES - 1);\n      multiply",
    wrong: "copy_stage(index + STAGES);\n      multiply",
    found: /race: thread|is in flight/,
  },
  {
    probe: "gemm",
    name: "an off-by-one store",
    file: "gemm/block_tile.cuh",
    right: "if (row + i * 16 + half * 8 < rows &&",
    wrong: "if (row + i * 16 + half * 8 <= rows &&",
    found: /out of bounds: thread/,
  },
  {
    probe: "gemm",
    name: "a swapped fragment index",
    file: "gemm/shared_tile.cuh",
    right: "fragments[0][1] = loaded[1];\n  fragments[1][0] = loaded[2];",
    wrong: "fragments[0][1] = loaded[2];\n  fragments[1][0] = loaded[1];",
    found: /^differs$/,
  },
  {
    probe: "gemm",
    name: "a tail that is not filled with zeros",
    file: "gemm/shared_tile.cuh",
    right: "inside ? elements * 2 : 0",
    wrong: "inside ? 16 : 0",
    found: /^differs$/,
  },
  {
    probe: "adamw",
    name: "a weight that is its master rounded half to even",
    file: "optim/adamw.cu",
    right: "(bits + 0x8000u) >> 16",
    wrong: "(bits + 0x7fffu + (bits >> 16 & 1u)) >> 16",
    found: /^differs$/,
  },
];

describe("in a tree of its own", () => {
  /** What a kernel gives with the sources of the broken tree. */
  async function outcome(probe: Probe): Promise<string> {
    await buildSimulator(broken);
    return Bun.spawnSync([kernelTestsPath(broken), "probe", probe])
      .stdout.toString()
      .trim();
  }

  test(
    "what has no fault is right",
    async () => {
      cpSync(join(root, "kernels"), join(broken, "kernels"), { recursive: true });
      expect(await outcome("gemm")).toBe("right");
      expect(await outcome("adamw")).toBe("right");
    },
    compileMs,
  );

  for (const { probe, name, file, right, wrong, found } of faults) {
    test(
      `${name} is found`,
      async () => {
        cpSync(join(root, "kernels"), join(broken, "kernels"), { recursive: true });
        const source = readFileSync(join(root, "kernels", file), "utf8");
        expect(source.split(right).length).toBe(2);
        writeFileSync(join(broken, "kernels", file), source.replace(right, wrong));
        expect(await outcome(probe)).toMatch(found);
      },
      compileMs,
    );
  }
});
