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

const limit = { limitSeconds: 5 };

test("a reward is loaded by file and export, with the hash of its file", async () => {
  const { reward, sha256, exportName } = await loadReward("./reward.ts#evenLength", folder, limit);
  await reward.start?.();
  const rollout = { prompt: { id: "p" }, text: "ab", finishReason: "stop", length: 2 } as const;
  expect(await reward(rollout)).toMatchObject({ status: "graded", score: 1 });
  await reward.close?.();
  expect(sha256).toBe(createHash("sha256").update(source).digest("hex"));
  expect(exportName).toBe("evenLength");
});

test("what is missing is named, at the latest when the reward is started", async () => {
  const message = async (reference: string) => {
    try {
      await (await loadReward(reference, folder, limit)).reward.start?.();
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
