// Responses that are right, wrong, hostile and garbage, of math and of code, through the loop with the real graders and the
// real sandbox: each gets exactly the advantage that it deserves, also when the sandbox is killed under it.
import { afterAll, expect, test } from "bun:test";
import { type Sandbox, startSandbox } from "@gradus/rewards";
import {
  bySource,
  codeReward,
  type FinishedRollout,
  type GrpoOptions,
  grpo,
  mathReward,
  type RolloutInfo,
  type TaskPrompt,
} from "./index.ts";

const python = (code: string) => `Here it is:\n\`\`\`python\n${code}\n\`\`\`\n`;
const sum = "a, b = map(int, input().split())\nprint(a + b)";

/** A response and the score that it deserves. */
type Script = readonly (readonly [deserved: number, response: string])[];

const tests = { inputs: ["1 2\n", "10 -3\n"], outputs: ["3\n", "7\n"] };
const calls = { fn_name: "add", inputs: ["1\n2", "10\n-3"], outputs: ["3", "7"] };

const problems: readonly { readonly prompt: TaskPrompt; readonly script: Script }[] = [
  {
    prompt: { id: "half", source: "math", text: "1/4+1/4?", answer: "\\frac{1}{2}" },
    script: [
      [1, "so \\boxed{\\frac{1}{2}}"],
      [1, "so \\boxed{0.5}"],
      [0, "so \\boxed{2}"],
      [0, "so \\boxed{9^{9^{9^{9^9}}}}"],
      [0, `\\boxed{${"{".repeat(100_000)}`],
      [0, "score: 1, correct, \\frac{1}{2}"],
      [0, ""],
      [0, "\ud83d\udca5\u0000\\boxed{\u202e}"],
    ],
  },
  {
    prompt: { id: "root", source: "math", text: "Which?", answer: "\\sqrt{2}+\\sqrt{3}" },
    script: [
      [1, "\\boxed{\\sqrt{3}+\\sqrt{2}}"],
      [1, "\\boxed{\\sqrt{5+2\\sqrt{6}}}"],
      [0, "\\boxed{\\sqrt{5}}"],
      [0, "\\boxed{3.14626436994}"],
      [0, "\\boxed{\\sum_{k=1}^{10^{12}} k}"],
      [0, "\\boxed{\\sqrt{2}+\\sqrt{3}} no, \\boxed{1}"],
      [0, "x".repeat(1_000_000)],
      [0, "\\boxed{}"],
    ],
  },
  {
    prompt: { id: "stdin", source: "code", text: "Print the sum.", tests },
    script: [
      [1, python(sum)],
      [1, python("import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))")],
      [0, python("a, b = map(int, input().split())\nprint(a - b)")],
      [0, python(`${sum}\nraise SystemExit(1)`)],
      [0, python('import os\nprint(\'{"type":"result","outcome":"exited"}\')\nos._exit(0)')],
      [0, python("import os, signal\nos.kill(-1, signal.SIGKILL)\nos.kill(os.getppid(), signal.SIGKILL)")],
      [0, "print the sum: 3, 7"],
      [0, python("\x00 not python")],
    ],
  },
  {
    prompt: { id: "function", source: "code", text: "Add.", tests: calls },
    script: [
      [1, python("def add(a, b):\n    return a + b")],
      [1, python("class Solution:\n    def add(self, a, b):\n        return b + a")],
      [0, python("def add(a, b):\n    return a * b")],
      [0, python("class S(int):\n    def __eq__(self, other): return True\ndef add(a, b): return S(0)")],
      [
        0,
        python(
          "import os\ndef add(a, b):\n    for fd in range(3, 64):\n        try: os.write(fd, b'{\"value\":3}\\n')\n        except OSError: pass\n    os._exit(0)",
        ),
      ],
      [
        0,
        python(
          "import builtins, json\njson.dumps = lambda *a, **k: '3'\nbuiltins.repr = lambda x: '3'\ndef add(a, b): return None",
        ),
      ],
      [0, python("def sub(a, b):\n    return a + b")],
      [0, "```python\n```"],
    ],
  },
];
const groupSize = 8;
const deserved = problems.flatMap(({ script }) => script.map(([score]) => score));

type ScriptedPolicy = GrpoOptions<TaskPrompt>["policy"];

/** Gives the script's responses, every second one early; keeps the weights of the update. */
function scriptedPolicy(onRollout: () => void = () => {}) {
  const kept: { weights: Float32Array | undefined } = { weights: undefined };
  const policy: ScriptedPolicy = {
    rollout: async (_prompts, { onFinished, ids = [] }) => {
      onRollout();
      const rollouts = ids.flatMap((id, promptIndex): RolloutInfo[] => {
        const { script } = problems.find(({ prompt }) => prompt.id === id) ?? { script: [] };
        return script.map(([, text], rolloutIndex) => {
          const facts = {
            promptLength: 3,
            length: 5 + rolloutIndex,
            finishReason: "stop",
            entropy: 1,
            entropyRaw: 1,
          } as const;
          return { promptIndex, rolloutIndex, text, ...facts };
        });
      });
      const early: readonly FinishedRollout[] = rollouts.filter(({ rolloutIndex }) => rolloutIndex % 2 === 0);
      for (const rollout of early) onFinished?.([rollout]);
      await Bun.sleep(20);
      const responseTokens = rollouts.reduce((total, { length }) => total + length, 0);
      const facts = { responseTokens, tokens: responseTokens, entropy: 1, entropyRaw: 1 };
      return { rollouts, ...facts, record: async () => {}, close: () => {} };
    },
    batch: () => Promise.reject(new Error("not used")),
    step: async (_batch, { weights }) => {
      kept.weights = weights;
      const metrics = {
        loss: 0,
        gradNorm: 1,
        entropy: 1,
        logprobAbsDiffMax: 0,
        tokens: 1,
        trainedTokens: 1,
        seconds: 1,
      };
      return { ...metrics, skipped: null };
    },
  };
  return { policy, kept };
}

/** Kills a process; false where it has ended by itself since it was seen. */
function killNow(pid: number): boolean {
  try {
    return process.kill(pid, "SIGKILL");
  } catch {
    return false;
  }
}

/** One step of the loop; gives what was recorded, by rollout in the script's order. */
async function oneStep(sandbox: Sandbox, onRollout?: () => void) {
  const { policy, kept } = scriptedPolicy(onRollout);
  const math = mathReward();
  const reward = bySource<TaskPrompt>({ math, code: codeReward({ sandbox: async () => sandbox }) });
  const columns = { scores: new Float32Array(), kinds: [""], advantages: new Float32Array(), order: [""] };
  const run = grpo({
    policy,
    prompts: problems.map(({ prompt }) => prompt),
    reward,
    groupSize,
    maxResponseLength: 64,
    steps: 1,
    record: async (_batch, { scores, kinds, advantages }, { items }) => {
      Object.assign(columns, { scores, kinds, advantages, order: items.map(({ id }) => id) });
    },
  });
  const records = [];
  for await (const record of run) records.push(record);
  math.close?.();
  // Prompts are shuffled; back in the script's order.
  const places = problems.flatMap(({ prompt }) => {
    const first = columns.order.indexOf(prompt.id) * groupSize;
    return Array.from({ length: groupSize }, (_, index) => first + index);
  });
  const inOrder = <T>(values: ArrayLike<T>) => places.map((place) => values[place]);
  return {
    record: records[0] ?? {},
    scores: inOrder(columns.scores),
    kinds: inOrder(columns.kinds),
    advantages: inOrder(columns.advantages),
    weights: inOrder(kept.weights ?? []),
  };
}

const sandbox = await startSandbox({ workers: 2 });
afterAll(() => sandbox.close());

test("every response gets the score, the advantage and the weight that it deserves", async () => {
  const { record, scores, kinds, advantages, weights } = await oneStep(sandbox);
  expect(scores).toEqual(deserved);
  expect(kinds.filter((kind) => kind === "fault")).toEqual([]);
  for (const [index, { script }] of problems.entries()) {
    // Two of eight are right in every group: mean 1/4, sample variance 8 · 3/16 / 7.
    const [mean, std] = [1 / 4, Math.sqrt(3 / 14)];
    const tokens = script.reduce((total, _, rollout) => total + 5 + rollout, 0);
    for (let rollout = 0; rollout < groupSize; rollout++) {
      const place = index * groupSize + rollout;
      const advantage = ((deserved[place] ?? 0) - mean) / (std + 1e-6);
      expect(advantages[place]).toBe(Math.fround(advantage));
      expect(weights[place]).toBeCloseTo(advantage / tokens / problems.length, 9);
    }
  }
  expect(record).toMatchObject({
    "reward/fault": 0,
    "reward/correct": 8,
    "reward/source/math/mean": 0.25,
    "reward/source/code/mean": 0.25,
    [`reward/tier_${sandbox.tier}`]: expect.any(Number),
  });
}, 120_000);

test("a sandbox that is killed again and again gives the same scores or faults, and recovers", async () => {
  let kills = 0;
  let killing: Timer | undefined;
  const killOften = () => {
    killing = setInterval(() => {
      const pid = sandbox.processId();
      if (pid === undefined || kills === 6) return;
      if (killNow(pid)) kills++;
    }, 150);
  };
  const { scores, kinds } = await oneStep(sandbox, killOften);
  clearInterval(killing);
  expect(kills).toBeGreaterThan(0);
  for (const [place, score] of scores.entries()) {
    if (kinds[place] === "fault") expect(score).toBeNaN();
    else expect([place, score]).toEqual([place, deserved[place]]);
  }
  expect((await oneStep(sandbox)).scores).toEqual(deserved);
}, 240_000);
