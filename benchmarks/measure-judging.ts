// Runs the judging suite: each work by itself, as often as asked.
import { availableParallelism } from "node:os";
import type { Measured, Measuring } from "./measure-cpu.ts";
import { isMet, median, type Row } from "./rows.ts";
import { type JudgingPlan, judgingPlans } from "./suites/judging.ts";

/** The rows of the suite that `only` names. */
export async function measureJudging({ only, repeats, show }: Measuring): Promise<Measured> {
  const rows: Row[] = [];
  for (const plan of judgingPlans.filter(({ work }) => only.test(work))) {
    const row = await rowOf(plan, repeats);
    show(row);
    rows.push(row);
  }
  return { rows, level: null, threads: availableParallelism(), peaks: {} };
}

async function rowOf(plan: JudgingPlan, repeats: number): Promise<Row> {
  const ready = await plan.prepare();
  if (typeof ready === "string") return emptyRow(plan, "not run", ready);
  try {
    const rates: number[] = [];
    for (let repeat = 0; repeat < repeats; repeat++) rates.push(await ready.measure());
    const ours = median(rates);
    const met = isMet(plan.unit, plan.target, { ours, peer: null, limit: null });
    return { ...emptyRow(plan, "measured", ready.note()), ours, met, ours_repeats: rates };
  } catch (error) {
    return { ...emptyRow(plan, "failed", error instanceof Error ? error.message : String(error)), met: false };
  } finally {
    await ready.close();
  }
}

function emptyRow({ work, unit, target }: JudgingPlan, state: Row["state"], note: string): Row {
  return {
    work,
    unit,
    ours: null,
    peer: null,
    peer_name: null,
    ratio: null,
    limit: null,
    target: target.value,
    target_kind: target.kind,
    met: null,
    state,
    note,
    ours_repeats: [],
    peer_repeats: [],
  };
}
