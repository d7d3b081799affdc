// `bun run train` as a process over a scripted policy: signals, kill -9, exit codes, streams.
import { afterEach, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { scriptedRecipe, storedMetrics } from "./__fixtures__/scripted-run.ts";
import { removeTemporaryFolders } from "./__fixtures__/temporary-folder.ts";

const program = join(import.meta.dirname, "__fixtures__", "scripted-main.ts");

afterEach(removeTemporaryFolders);

function start(folder: string, argv: readonly string[], pauseMs = 0) {
  return Bun.spawn([process.execPath, program, ...argv], {
    cwd: folder,
    env: { ...process.env, GRADUS_SCRIPT_MS: `${pauseMs}` },
    stdout: "pipe",
    stderr: "pipe",
  });
}

/** Reads stdout until it holds `text`, then calls `then`; gives all of it when it ends. */
async function whenSeen(stream: ReadableStream<Uint8Array>, text: string, then: () => void): Promise<string> {
  let [seen, done] = ["", false];
  const decoder = new TextDecoder();
  for await (const piece of stream) {
    seen += decoder.decode(piece, { stream: true });
    if (done || !seen.includes(text)) continue;
    done = true;
    then();
  }
  return seen;
}

test("plain output is one line a step (in SFT the first, last and each 25th), with the table at the end", async () => {
  const child = start(scriptedRecipe(), ["--config", "run.jsonc"]);
  const text = await new Response(child.stdout).text();
  expect(await child.exited).toBe(0);
  expect(text.split("\n").filter((line) => /^(sft|rl:\w+) \d+\/\d+ {2}/.test(line)).length).toBe(11);
  expect(text).toMatch(/rl:long +\d+\.\d % +[+−]\d+\.\d/);
  expect(await new Response(child.stderr).text()).toContain("10 rows of train.jsonl");
});

test("killed at random moments and resumed, a run equals the unbroken one", async () => {
  const whole = scriptedRecipe();
  expect(await start(whole, ["--config", "run.jsonc"]).exited).toBe(0);
  const folder = scriptedRecipe();
  let child = start(folder, ["--config", "run.jsonc", "--json"], 20);
  for (const step of [2, 5, 7, 9, 13]) {
    await whenSeen(child.stdout, `"step":${step},`, () => child.kill("SIGKILL"));
    await child.exited;
    child = start(folder, ["--resume", "last", "--json"], 20);
  }
  const last = (await new Response(child.stdout).text()).trimEnd().split("\n").at(-1) ?? "";
  expect(await child.exited).toBe(0);
  expect(JSON.parse(last).type).toBe("summary");
  const [broken, unbroken] = [storedMetrics(folder), storedMetrics(whole)];
  expect(broken).toEqual(unbroken);
}, 60_000);

test("the first signal saves and says how to go on", async () => {
  const folder = scriptedRecipe();
  // Slow, so that the signal comes long before the run's end.
  const child = start(folder, ["--config", "run.jsonc", "--json"], 300);
  await whenSeen(child.stdout, `"step":8,`, () => child.kill("SIGINT"));
  expect(await child.exited).toBe(130);
  const told = await new Response(child.stderr).text();
  expect(told).toMatch(/SIGINT: finishing the step and saving/);
  expect(told).toMatch(/stopped by SIGINT after step \d+; go on with: bun run train --resume \S+-scripted\n$/);
  expect(storedMetrics(folder).status).toBe("interrupted");
});

test("the second signal exits at once", async () => {
  const folder = scriptedRecipe();
  const child = start(folder, ["--config", "run.jsonc", "--json"], 3_600_000);
  // A signal that comes at once is an echo of the first: a person's second one comes later, as the last of these.
  let again: Timer | undefined;
  const stderr = whenSeen(child.stderr, "finishing the step", () => {
    again = setInterval(() => child.kill("SIGTERM"), 50);
  });
  await whenSeen(child.stdout, `"phase":"rl:short"`, () => child.kill("SIGTERM"));
  expect(await child.exited).toBe(143);
  clearInterval(again);
  expect(await stderr).not.toContain("stopped by");
});

test("wrong usage is one line, exit code 2, and leaves nothing behind", async () => {
  const cases: [string, RegExp][] = [
    ["--persist 1", /^error: unknown flag --persist/],
    ["--preset tinny", /^error: unknown preset "tinny" \(did you mean "tiny"\?\)\n$/],
    [
      "--config run.jsonc --rl.stages.0.temprature 1",
      /unknown key "temprature" in rl\.stages\.0 \(did you mean "temperature"\?\)\n$/,
    ],
    ["--config run.jsonc --rl.groupSize 1", /rl\.groupSize: a group of one .*use at least 2/],
    [
      "--config run.jsonc --rl.stages.1.maxResponseLength 5000",
      /rl\.stages\.1\.maxResponseLength \(long\): 5000 tokens do not fit the policy's context of 1000/,
    ],
    [
      "--config run.jsonc --eval.maxTokens 997",
      /eval\.maxTokens: 997 tokens do not fit the policy's context of 1000 .* after the prompt of 4 tokens at eval\.jsonl row 1; use at most 996/,
    ],
    ["--config missing.jsonc", /missing\.jsonc/],
    [
      "--config run.jsonc --reward maths",
      /^error: reward: unknown reward "maths" \(did you mean "math"\?\); use math, exact, code or/,
    ],
    ["--resume last", /^error: no run in .*runs yet/],
  ];
  const folder = scriptedRecipe();
  await Promise.all(
    cases.map(async ([argv, message]) => {
      const child = start(folder, argv.split(" "));
      const [stdout, stderr] = [await new Response(child.stdout).text(), await new Response(child.stderr).text()];
      expect([argv, await child.exited, stdout]).toEqual([argv, 2, ""]);
      expect(stderr).toMatch(message);
      expect(stderr.indexOf("\n")).toBe(stderr.length - 1);
      expect(stderr).not.toMatch(/\bat .*:\d+:\d+/);
    }),
  );
  expect(existsSync(join(folder, "runs"))).toBe(false);
});

test("a config file outside of any package may use defineConfig and preset", async () => {
  const folder = scriptedRecipe();
  const text = `import { defineConfig, preset } from "@gradus/config";
export default defineConfig({ extends: preset("tiny"), data: { sft: "missing.jsonl" } });`;
  await Bun.write(join(folder, "gradus.config.ts"), text);
  const child = start(folder, ["--config", "gradus.config.ts"]);
  expect(await new Response(child.stderr).text()).toMatch(
    /^error: cannot read the data set \S+missing\.jsonl; check the path\n$/,
  );
  expect(await child.exited).toBe(2);
});
