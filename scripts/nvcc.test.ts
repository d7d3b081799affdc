// Without a compiler for GPUs: CI fails, a contributor goes on without kernels.
import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installedNvcc, nvccAt } from "./nvcc.ts";

const scratch = mkdtempSync(join(tmpdir(), "gradus-nvcc-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

test("an nvcc that cannot be fetched is an error with the remedy, and leaves nothing behind", () => {
  const program = `import { fetchNvcc } from ${JSON.stringify(join(import.meta.dir, "nvcc.ts"))};
    await fetchNvcc(${JSON.stringify(scratch)});`;
  // Neither python3 nor a compiler is on this PATH.
  const child = Bun.spawnSync([process.execPath, "-e", program], { env: { PATH: scratch, HOME: scratch } });
  expect(child.exitCode).not.toBe(0);
  expect(child.stderr.toString()).toContain("nvcc could not be fetched");
  expect(child.stderr.toString()).toContain("or CUDA 13 with nvcc on PATH or in CUDA_HOME");
  expect(existsSync(join(scratch, "build", "cuda"))).toBe(false);
});

test("a missing compiler is none", async () => {
  expect(await nvccAt(join(scratch, "nvcc"))).toBeUndefined();
  expect(await installedNvcc({ CUDA_HOME: scratch })).toBeUndefined();
});
