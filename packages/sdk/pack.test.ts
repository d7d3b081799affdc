// The npm packages as a user gets them: packed, installed in an empty folder elsewhere, running the README's example under Bun and Node.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";

const root = join(import.meta.dir, "..", "..");
const folder = mkdtempSync(join(tmpdir(), "gradus-pack-"));

/** Runs a program to its end with this Bun on the PATH; fails with what it said. */
async function run(command: readonly string[], cwd: string): Promise<string> {
  const PATH = [dirname(process.execPath), process.env.PATH].join(delimiter);
  const child = Bun.spawn([...command], { cwd, stdout: "pipe", stderr: "pipe", env: { ...process.env, PATH } });
  const [output, errors] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ${errors}${output}`);
  return output;
}

/** The README's first TypeScript block, which is JavaScript too. */
function example(): string {
  const block = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1];
  if (block === undefined) throw new Error("README.md has no ```ts block");
  return block;
}

beforeAll(async () => {
  // What npm would fetch comes as tarballs of what is installed here, so that the test needs no registry.
  const packed = ["packages/native", "packages/sdk"].map((name) => join(root, name));
  const fetched = ["zod", "@noble/hashes"].map((name) => realpathSync(join(import.meta.dir, "node_modules", name)));
  for (const source of [...packed, ...fetched]) {
    await run(["npm", "pack", "--pack-destination", folder], source);
  }
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  const tarballs = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  expect(tarballs.length).toBe(4);
  await run(["npm", "install", "--offline", "--no-audit", "--no-fund", ...tarballs.map((name) => `./${name}`)], folder);
  writeFileSync(join(folder, "example.mjs"), example());
  // Packing builds the engine and the daemon when their sources have changed.
}, 600_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

for (const runtime of [process.execPath, "node"]) {
  test(`the README's example runs under ${runtime === "node" ? "Node" : "Bun"}`, async () => {
    const lines = (await run([runtime, "example.mjs"], folder)).trim().split("\n");
    // Five steps with a logprob difference of 0, then two responses.
    expect(lines.slice(0, 5).map((line) => line.split(" ").filter((_, word) => word !== 1))).toEqual(
      ["1", "2", "3", "4", "5"].map((step) => [step, "0"]),
    );
    expect(lines.length).toBeGreaterThan(5);
    expect(readdirSync(join(folder, "out"))).toContain("model.safetensors");
  }, 60_000);
}

for (const runtime of [process.execPath, "node"]) {
  test(`programs are judged in the sandbox that comes along, under ${runtime === "node" ? "Node" : "Bun"}`, async () => {
    const source = `import { codeReward } from "gradus";
const reward = codeReward({ limits: { cpuMs: 300, wallMs: 600 } });
const prompt = { id: "add", tests: { inputs: ["2\\n", "5\\n"], outputs: ["3\\n", "6\\n"] } };
for (const program of ["print(int(input()) + 1)", "print(3)", "while True: pass"]) {
  const text = "\`\`\`python\\n" + program + "\\n\`\`\`";
  console.log((await reward({ prompt, text, finishReason: "stop", length: 9 })).kind);
}
`;
    writeFileSync(join(folder, "judge.mjs"), source);
    expect((await run([runtime, "judge.mjs"], folder)).trim().split("\n")).toEqual(["correct", "wrong", "timeout"]);
  }, 60_000);
}

test("the declarations are whole: a TypeScript user finds every type", async () => {
  const source = `import { type EvalResult, GradusError, grpo, Policy, type StepRecord } from "gradus";
const policy: Policy = await Policy.load("x", { threads: 1 });
const [[response] = []] = await policy.generate(["1+1="], { maxTokens: 3 });
const text: string | undefined = response?.text;
for await (const step of grpo({ policy, prompts: [{ id: "a", text: "a", level: 3 }], reward: ({ prompt }) => prompt.level, groupSize: 2, maxResponseLength: 4 })) {
  const record: StepRecord = step;
  const score: number | undefined = record["critic/score/mean"];
  console.log(score, text);
}
export const result: EvalResult | undefined = undefined;
// @ts-expect-error codes are a union
export const wrong: boolean = new GradusError("closed", "x").code === "clsed";
// @ts-expect-error options are typed
await policy.generate([], { maxToken: 3 });
`;
  writeFileSync(join(folder, "typed.ts"), source);
  const options = {
    module: "nodenext",
    target: "esnext",
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    types: [],
    lib: ["esnext", "dom"],
  };
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["typed.ts"] }));
  await run([join(root, "node_modules", ".bin", "tsc"), "-p", "."], folder);
}, 60_000);
