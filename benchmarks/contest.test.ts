// Whose failure a failed contest is: a peer that dies must never be written down as ours.
import { expect, test } from "bun:test";
import { runContest } from "./contest.ts";

/** A side that answers every command but `score`, which it does as told. */
const side = (name: string, onScore: string) => [
  process.execPath,
  "-e",
  `console.log(JSON.stringify({ ok: { name: ${JSON.stringify(name)} } }));
   for await (const line of console) {
     if (JSON.parse(line).do === "score") { ${onScore} }
     else console.log(JSON.stringify({ ok: { seconds: 1 } }));
   }`,
];
const answers = `console.log(JSON.stringify({ ok: { seconds: 2 } }));`;

const contest = (peerOnScore: string, difference: string | null) =>
  runContest("by-turns", {
    ours: side("ours", "process.exit(9);"),
    peer: async () => side("theirs", peerOnScore),
    peerEnvironment: {},
    repeats: 1,
    measurePeaks: async () => ({ f32Gflops: 1, bf16Gflops: 1, int8Gops: 1, readGbps: 1 }),
    questionOfWarm: () => ({ do: "score", tokens: [1, 2] }),
    compareWarm: (_ours, { seconds }) => {
      if (difference !== null) throw new Error(difference);
      return `told ${seconds}`;
    },
  });

test("a peer that dies when it is asked about our warm-up has failed, we have not", async () => {
  const { ours, peer } = await contest("process.exit(7);", null);
  expect(peer?.failure).toContain("exit code 7");
  expect(peer?.samples).toEqual([]);
  expect(ours.failure).toBeNull();
  expect(ours.samples).toEqual([{ seconds: 1 }]);
});

test("an answer that differs from ours is our failure", async () => {
  const { ours, peer } = await contest(answers, "not the peer's numbers");
  expect(ours.failure).toBe("not the peer's numbers");
  expect(peer?.failure).toBeNull();
});

test("both repeat when the answers agree", async () => {
  const { ours, peer, check } = await contest(answers, null);
  expect(check).toBe("told 2");
  expect(ours.samples).toEqual([{ seconds: 1 }]);
  expect(peer?.samples).toEqual([{ seconds: 1 }]);
});
