import { afterAll, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadReward } from "./load-reward.ts";

const folder = mkdtempSync(join(tmpdir(), "gradus-reward-"));
afterAll(() => rmSync(folder, { recursive: true }));

const source = "export const limit = 3;\nexport const evenLength = ({ text }) => (text.length % 2 === 0 ? 1 : 0);\n";
writeFileSync(join(folder, "reward.ts"), source);
writeFileSync(join(folder, "broken.ts"), "export const = 1;\n");

test("a reward is loaded by file and export, with the hash of its file", async () => {
  const loaded = await loadReward("./reward.ts#evenLength", folder);
  const rollout = { prompt: { id: "p" }, text: "ab", finishReason: "stop", length: 2 } as const;
  expect(loaded.reward(rollout)).toBe(1);
  expect(loaded.sha256).toBe(createHash("sha256").update(source).digest("hex"));
  expect(loaded.exportName).toBe("evenLength");
});

test("what is missing is named", async () => {
  const message = async (reference: string) => {
    try {
      await loadReward(reference, folder);
    } catch (error) {
      return error instanceof Error ? error.message : "";
    }
    return "";
  };
  expect(await message("./reward.ts")).toContain("expected FILE#EXPORT");
  expect(await message("./absent.ts#score")).toContain("cannot read");
  expect(await message("./reward.ts#score")).toContain('has no export "score"; its functions are: evenLength');
  expect(await message("./reward.ts#limit")).toContain('"limit" is not a function');
  expect(await message("./broken.ts#score")).toContain("does not load");
});
