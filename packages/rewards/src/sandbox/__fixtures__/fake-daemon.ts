// A daemon for tests that speaks the protocol and runs nothing: each program is an order to it (see `obey`).
// Started as `fake-daemon.ts STATE [daemon's arguments]`; STATE is a folder where its starts and runs are counted.
import { appendFileSync, existsSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { bodyBytesMax, encodeFrame, type Frame, frameReader } from "../frames.ts";

const [, , state = "", ...given] = process.argv;
appendFileSync(join(state, "starts"), `${process.pid} ${given.join(" ")}\n`);
const greeting = join(state, "greeting.json");
const workers = 2;

const requestSchema = z.discriminatedUnion("type", [
  z.object({ type: z.literal("run"), id: z.int(), mode: z.enum(["stdin", "calls"]), entry: z.string().optional() }),
  z.object({ type: z.literal("cancel"), id: z.int() }),
]);

function write(bytes: Uint8Array): void {
  let begin = 0;
  while (begin < bytes.length) begin += writeSync(1, bytes, begin);
}

function reply(
  id: number,
  changes: Record<string, unknown>,
  blobs: readonly (string | Uint8Array)[] = ["", "", ""],
): void {
  const ended = { outcome: "exited", exitCode: 0, signal: null, cpuMs: 1, wallMs: 2, memoryPeakMiB: 3 };
  for (const chunk of encodeFrame(
    { type: "result", id, ...ended, ...changes },
    blobs.map((blob) => Buffer.from(blob)),
  )) {
    write(chunk);
  }
}

let held: number[] = [];

/** Does what a program says: `echo`, `hold` (until cancelled), `die`, `die once NAME`, `garbage`, `stranger`, … */
function obey(
  id: number,
  [code = new Uint8Array(), input = new Uint8Array()]: readonly Uint8Array[],
  entry?: string,
): void {
  const [order, name = ""] = new TextDecoder().decode(code).split(/ once | /);
  appendFileSync(join(state, "runs"), `${id}\n`);
  const isOnce = new TextDecoder().decode(code).includes(" once ");
  const mark = join(state, `once-${name}`);
  if (isOnce && existsSync(mark)) return void reply(id, {}, ["second try", "", ""]);
  if (isOnce) writeFileSync(mark, "");
  if (order === "echo")
    reply(id, {}, [input, `entry ${entry}`, '{"value":1}\n{"error":"E","message":"m"}\n{"value":9}\n']);
  else if (order === "hold") held.push(id);
  else if (order === "die") process.kill(process.pid, "SIGKILL");
  else if (order === "garbage") write(new Uint8Array(64).fill(255));
  else if (order === "oversized") write(new Uint8Array(Uint32Array.of(2, bodyBytesMax + 1).buffer));
  else if (order === "stranger") reply(id + 1000, {});
  else if (order === "nonsense") reply(id, { outcome: "accepted" });
  else if (order === "blobless") reply(id, {}, []);
  else if (order === "fault") reply(id, { outcome: "fault", exitCode: null, reason: "the zygote died" });
}

function take({ header, blobs }: Frame): void {
  const request = requestSchema.parse(header);
  if (request.type === "run") return void obey(request.id, blobs, request.entry);
  if (held.includes(request.id)) reply(request.id, { outcome: "cancelled", exitCode: null });
  held = held.filter((id) => id !== request.id);
}

const ready = { type: "ready", protocol: 1, tier: "A", workers, python: "3.11.7", walls: [] };
const first = existsSync(greeting) ? readFileSync(greeting, "utf8") : JSON.stringify(ready);
if (first === "nothing") process.exit(1);
if (first === "garbage") write(new Uint8Array(64).fill(255));
else for (const chunk of encodeFrame(JSON.parse(first), [])) write(chunk);
if (first.includes("refused")) process.exit(3);

const read = frameReader();
for await (const chunk of Bun.stdin.stream()) for (const frame of read(chunk)) take(frame);
process.exit(0);
