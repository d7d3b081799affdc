// A row of a benchmark's result: its schema, when its target is met and when it does not count. Pure.
import { z } from "zod";

const positive = z.number().positive();

/** `ratio`: so many times better than the peer, or 80% of the limit; `share`: of the limit, as it stands; `most` and `least`: in the row's unit. */
export const targetKind = z.enum(["ratio", "share", "most", "least"]);

export const row = z.strictObject({
  work: z.string(),
  unit: z.enum(["tokens/s", "s", "GiB", "GFLOP/s", "GB/s", "tests/s", "verdicts/s"]),
  ours: positive.nullable(),
  peer: positive.nullable().describe("null: the row has no peer, or it is not installed or failed"),
  peer_name: z.string().nullable(),
  ratio: positive.nullable().describe("how many times better than the peer, whatever the unit"),
  limit: positive.nullable().describe("what the machine could do at most, in the row's unit"),
  target: positive,
  target_kind: targetKind,
  met: z.boolean().nullable().describe("null: not run, or invalid"),
  state: z.enum(["measured", "not run", "failed", "peer missing", "peer failed", "invalid"]),
  note: z.string().nullable().describe("why the state is what it is; what was compared for correctness"),
  ours_repeats: z.array(z.number()),
  peer_repeats: z.array(z.number()),
});
export type Row = z.infer<typeof row>;

export const result = z.strictObject({
  rows: z.array(row),
  commit: z.string(),
  machine: z.string(),
  level: z.string().nullable().describe("instruction level of the CPU backend; null: the suite does not use it"),
  threads: z.int().min(1),
  peaks: z.record(z.string(), z.number().nullable()).describe("medians of the limits over the run, 1e9 a second"),
  load_at_start: z.number().min(0).describe("mean number of running threads in the minute before"),
  command: z.string(),
  seconds: positive,
});
export type Result = z.infer<typeof result>;

export type Unit = Row["unit"];
export type Target = { readonly kind: z.infer<typeof targetKind>; readonly value: number };

/** Machines on which the peers were measured before (2 cores of each): a peer far below its figure had a bad hour. */
export type MachineKind = "zen3" | "zen4";

/** Seconds and bytes are better when they are fewer. */
export const isFewerBetter = (unit: Unit) => unit === "s" || unit === "GiB";

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  if (low === undefined || high === undefined) throw new Error("the median of nothing");
  return (low + high) / 2;
}

/** (largest − smallest) / 2 / median */
export const spread = (values: readonly number[]) =>
  values.length === 0 ? 0 : (Math.max(...values) - Math.min(...values)) / 2 / median(values);

/** How many times better `ours` is than `peer`. */
export const ratioOf = (unit: Unit, ours: number, peer: number) => (isFewerBetter(unit) ? peer / ours : ours / peer);

/** Whether the target is reached: a ratio to the peer or, where that is less, 80% of the limit; shares and bounds as they stand. */
export function isMet(
  unit: Unit,
  target: Target,
  figures: { ours: number; peer: number | null; limit: number | null },
): boolean {
  const { ours, peer, limit } = figures;
  if (target.kind === "most") return ours <= target.value;
  if (target.kind === "least") return ours >= target.value;
  if (target.kind === "share") return limit !== null && ours >= target.value * limit;
  if (peer === null) return false;
  const ofLimit = limit === null ? 0 : ratioOf(unit, ours, limit);
  return ratioOf(unit, ours, peer) >= target.value || ofLimit >= 0.8;
}

/** Whether a peer's figure counts: at least 0.8 of what it gave on the same kind of machine, where that is known. */
export function isPeerSound(unit: Unit, peer: number, known: number | undefined): boolean {
  return known === undefined || ratioOf(unit, peer, known) >= 0.8;
}

/** The kind of machine by /proc/cpuinfo; other machines have no earlier figures. */
export function machineKind(cpuinfo: string): MachineKind | undefined {
  const field = (name: string) => new RegExp(`^${name}\\s*:\\s*(.*)$`, "m").exec(cpuinfo)?.[1] ?? "";
  if (field("vendor_id") !== "AuthenticAMD" || field("cpu family") !== "25") return undefined;
  return field("flags").split(" ").includes("avx512_bf16") ? "zen4" : "zen3";
}
