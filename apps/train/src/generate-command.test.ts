// `bun run generate`: which model a name stands for, in which frame it is asked, and how mistakes are told.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { scriptedRecipe, scriptedTrain } from "./__fixtures__/scripted-run.ts";
import { removeTemporaryFolders } from "./__fixtures__/temporary-folder.ts";
import { type GenerateEffects, generateCommand } from "./generate-command.ts";

let folder = "";
let id = "";

afterAll(removeTemporaryFolders);

beforeAll(async () => {
  folder = scriptedRecipe();
  await scriptedTrain(folder, ["--config", "run.jsonc"]);
  id = readFileSync(join(folder, "runs", "last"), "utf8").trim();
  mkdirSync(join(folder, "model"));
  writeFileSync(join(folder, "model", "config.json"), "{}");
});

/** Runs the verb over a policy that answers with what it was asked. */
async function generate(
  ...argv: string[]
): Promise<{ exitCode: number; stdout: string; stderr: string; loaded: string }> {
  const said = { exitCode: 0, stdout: "", stderr: "", loaded: "" };
  const effects: GenerateEffects = {
    cwd: folder,
    load: async (path, place) => {
      said.loaded = `${path.replace(`${folder}/`, "")} ${JSON.stringify(place)}`;
      const answer = (prompt: unknown, options: object): string => JSON.stringify([prompt, options]);
      return {
        generate: async (prompts, options) =>
          prompts.map((prompt) =>
            Array.from({ length: options.n }, () => ({
              text: answer(prompt, options),
              tokens: new Uint32Array(3),
              finishReason: "stop" as const,
            })),
          ),
        stream: async function* (prompt, options) {
          yield* answer(prompt, options);
        },
        close: async () => {},
      };
    },
    writeOut: (text) => {
      said.stdout += text;
    },
    writeError: (text) => {
      said.stderr += text;
    },
  };
  said.exitCode = await generateCommand(argv, effects);
  return said;
}

test("a run is asked in its own frame with its evaluation's settings, from its last checkpoint", async () => {
  for (const name of ["last", id, `runs/${id}`]) {
    const { exitCode, stdout, loaded } = await generate(name, "3+4=");
    expect([exitCode, stdout]).toEqual([
      0,
      `[{"text":"3+4=","addSpecial":true},{"maxTokens":8,"temperature":1,"seed":1}]\n`,
    ]);
    expect(loaded).toBe(`runs/${id}/checkpoints/step-15 {"device":"auto","dtype":null,"threads":null}`);
  }
  expect((await generate(`runs/${id}/checkpoints/step-14`, "3+4=")).stdout).toContain(
    '[{"text":"3+4=","addSpecial":true},{"maxTokens":8',
  );
});

test("a folder is asked through its chat template; flags decide the rest", async () => {
  const { stdout, loaded } = await generate("model", "hello", "--temperature", "0", "--seed", "7", "--threads", "2");
  expect(JSON.parse(stdout)).toEqual([
    [{ role: "user", content: "hello" }],
    { maxTokens: 512, temperature: 0, seed: 7 },
  ]);
  expect(loaded).toBe('model {"device":"auto","dtype":null,"threads":2}');
  const framed = await generate("model", "2+2?", "--frame", "acereason");
  expect(framed.stdout).toContain("Please place your final answer inside");
  expect(framed.stdout).toContain('"stop":["<|im_end|>","<|endoftext|>"]');
});

test("a run is asked where it was trained", async () => {
  const config = join(folder, "runs", id, "config.json");
  const before = readFileSync(config, "utf8");
  writeFileSync(
    config,
    before.replace('"device": "auto"', '"device": "cpu"').replace('"threads": null', '"threads": 3'),
  );
  expect((await generate("last", "3+4=")).loaded).toEndWith('{"device":"cpu","dtype":null,"threads":3}');
  expect((await generate("last", "3+4=", "--device", "auto")).loaded).toEndWith(
    '{"device":"auto","dtype":null,"threads":3}',
  );
  writeFileSync(config, before);
});

test("several responses, also as JSON", async () => {
  const two = await generate("last", "1+1=", "--n", "2");
  expect(two.stdout.split("\n").map((line) => line.slice(0, 4))).toEqual(["[1] ", "[2] ", ""]);
  const lines = (await generate("last", "1+1=", "--n", "2", "--json")).stdout.trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line))).toEqual(
    [0, 1].map((index) => ({ type: "response", index, text: expect.any(String), tokens: 3, finishReason: "stop" })),
  );
});

test("mistakes are one line", async () => {
  const cases: [string[], RegExp][] = [
    [["last"], /^error: expected a model or run and a prompt/],
    [["last", "1", "+", "1"], /put the prompt in quotes/],
    [["lost", "1+1="], /^error: no run "lost" in /],
    [["./nowhere", "1+1="], /^error: no folder .*nowhere: give a Hugging Face folder, a run's id, or last/],
    [["last", "1+1=", "--temprature", "1"], /unknown flag --temprature \(did you mean "--temperature"\?\)/],
    [["last", "1+1=", "--n", "0"], /--n: expected a number of at least 1, got "0"/],
    [["last", "1+1=", "--frame", "chat"], /--frame: expected acereason, chat-template or raw, got "chat"/],
  ];
  for (const [argv, message] of cases) {
    const { exitCode, stdout, stderr } = await generate(...argv);
    expect([argv, exitCode, stdout]).toEqual([argv, 2, ""]);
    expect(stderr).toMatch(message);
    expect(stderr.indexOf("\n")).toBe(stderr.length - 1);
  }
});
