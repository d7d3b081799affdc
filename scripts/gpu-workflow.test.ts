// .github/workflows/gpu.yml keeps strangers' code off the GPU runner, and knows the parts of the bundle.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { partNames } from "./gpu-pack.ts";

const step = z.looseObject({ uses: z.string().optional(), run: z.string().optional() });
const job = z.looseObject({
  "runs-on": z.union([z.string(), z.array(z.string())]),
  "timeout-minutes": z.number(),
  if: z.string().optional(),
  needs: z.string().optional(),
  steps: z.array(step),
});
const workflow = z
  .looseObject({
    on: z.strictObject({
      workflow_dispatch: z.looseObject({ inputs: z.object({ part: z.looseObject({ options: z.array(z.string()) }) }) }),
      // Never pull_request_target, which runs with this repository's rights.
      pull_request: z.strictObject({ types: z.tuple([z.literal("labeled")]) }),
    }),
    permissions: z.strictObject({ contents: z.literal("read") }),
    jobs: z.strictObject({ bundle: job, run: job }),
  })
  .parse(Bun.YAML.parse(readFileSync(join(import.meta.dir, "..", ".github", "workflows", "gpu.yml"), "utf8")));
const { bundle, run } = workflow.jobs;

test("only a dispatch, or a labelled pull request from this repository, reaches the GPU", () => {
  expect(bundle.if?.replaceAll(/\s+/g, " ")).toBe(
    "github.event_name == 'workflow_dispatch' || " +
      "(github.event.label.name == 'gpu' && github.event.pull_request.head.repo.full_name == github.repository)",
  );
  // Skipped with the bundle; nothing is built or checked out on the runner.
  expect(run.needs).toBe("bundle");
  expect(run.if).toBeUndefined();
  expect(run["runs-on"]).toContain("self-hosted");
  expect(run.steps.filter(({ uses }) => uses?.startsWith("actions/checkout"))).toEqual([]);
});

test("every action is pinned to a commit", () => {
  const used = [...bundle.steps, ...run.steps].flatMap(({ uses }) => uses ?? []);
  expect(used.length).toBe(5);
  for (const action of used) expect(action).toMatch(/^actions\/[a-z-]+@[0-9a-f]{40}$/);
});

test("no expression is pasted into a command", () => {
  for (const { run: command } of [...bundle.steps, ...run.steps]) expect(command ?? "").not.toContain("${{");
});

test("its parts are those of the bundle", () => {
  const onGpu = partNames.filter((name) => name !== "cpu");
  expect(workflow.on.workflow_dispatch.inputs.part.options).toEqual(["all", ...onGpu]);
});
