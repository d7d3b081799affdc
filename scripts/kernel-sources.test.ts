import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { packOf, sourcesOf } from "./kernel-pack.ts";
import { kernelUnits } from "./kernel-sources.ts";

const folder = mkdtempSync(join(tmpdir(), "gradus-kernels-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(files: Record<string, string>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

test("units are found by kind, and change with what they include and with nothing else", () => {
  write({
    "common/types.cuh": "struct bf16;",
    "gemm/gemm.h": "// table",
    "gemm/tile.cuh": '#include "common/types.cuh"',
    "gemm/forward.cu": '#include "gemm/gemm.h"\n#include "tile.cuh"\n',
    "gemm/wgmma.cu": '// Hopper\'s own.\n// arch: sm_90a\n#include "gemm/gemm.h"',
    "gemm/tests.cpp": "int tests;",
    "sim/machine.cpp": '#include "sim/machine.h"',
    "sim/machine.h": "",
    "sim/planted.cu": "",
  });
  const units = kernelUnits(folder);
  expect(units.map(({ name, kind, isHopperOnly }) => [name, kind, isHopperOnly])).toEqual([
    ["gemm/forward", "kernel", false],
    ["gemm/tests", "tests", false],
    ["gemm/wgmma", "kernel", true],
    ["sim/machine", "simulator", false],
    ["sim/planted", "tests", false],
  ]);
  const changedBy = (files: Record<string, string>) => {
    write(files);
    return kernelUnits(folder).flatMap(({ name, hash }, index) => (hash === units[index]?.hash ? [] : [name]));
  };
  expect(changedBy({ "common/types.cuh": "struct bf16 {};" })).toEqual(["gemm/forward"]);
  expect(changedBy({ "common/types.cuh": "struct bf16;" })).toEqual([]);
  expect(changedBy({ "gemm/gemm.h": "// another table" })).toEqual(["gemm/forward", "gemm/wgmma"]);
});

test("a pack tells what it was made of", () => {
  const image = new TextEncoder().encode("cubin");
  const pack = packOf("13.0.88", "abc123", [{ name: "copy/copy", arch: "sm_80", kernels: ["add_f32"], image }]);
  expect(sourcesOf(pack)).toBe("abc123");
  expect(new TextDecoder().decode(pack.subarray(-5))).toBe("cubin");
  expect(sourcesOf(new Uint8Array(3))).toBeUndefined();
  expect(sourcesOf(new TextEncoder().encode("GRADUSK2________{}"))).toBeUndefined();
});
