// The suite as data: every row of the design once, jobs that the schema takes.
import { expect, test } from "bun:test";
import { job, tokenIds } from "../jobs.ts";
import { cpuContests } from "./cpu.ts";

const contests = cpuContests(2);

test("every row has a name of its own and every job is one", () => {
  const works = contests.flatMap(({ rows }) => rows.map(({ work }) => work));
  expect(new Set(works).size).toBe(works.length);
  expect(works.length).toBe(46);
  for (const contest of contests) expect(job.safeParse(contest.job).success).toBe(true);
});

test("a machine with one core has no rows for a second thread", () => {
  const works = cpuContests(1).flatMap(({ rows }) => rows.map(({ work }) => work));
  expect(works.filter((work) => work.startsWith("matmul f32"))).toHaveLength(2);
});

test("tokens are those that peers/protocol.py makes", () => {
  // By `token_ids(6, 3, 512)` and `token_ids(3, 4294967295, 151936)` there.
  expect([...tokenIds(6, 3, 512)]).toEqual([124, 458, 486, 366, 279, 364]);
  expect([...tokenIds(3, 4294967295, 151936)]).toEqual([54339, 28563, 23744]);
});
