// The worker thread of a custom reward: loads the user's function and calls it for each rollout that comes.
// A function that never returns holds up this thread alone; its pool then ends it.
import { pathToFileURL } from "node:url";
import { parentPort, workerData } from "node:worker_threads";
import { z } from "zod";
import { type RewardReply, rewardPlaceSchema, rewardRequestSchema } from "./reward-protocol.ts";
import { fault, toVerdict, type Verdict } from "./verdict.ts";

const functionSchema = z.custom<(rollout: unknown) => unknown>((value) => typeof value === "function");
const { file, exportName } = rewardPlaceSchema.parse(workerData);

// The program's stdout may be read by another program; what a reward prints is for people.
console.log = console.error;
console.info = console.error;

function tell(reply: RewardReply): void {
  parentPort?.postMessage(reply);
}

const oneLine = (error: unknown) => (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "";

/** The user's function, or why it cannot be had. */
async function load(): Promise<((rollout: unknown) => unknown) | string> {
  let exported: Map<string, unknown>;
  try {
    const loaded: object = await import(pathToFileURL(file).href);
    exported = new Map(Object.entries(loaded));
  } catch (error) {
    return `${file} does not load: ${oneLine(error)}`;
  }
  const found = exported.get(exportName);
  const parsed = functionSchema.safeParse(found);
  if (parsed.success) return parsed.data;
  const functions = [...exported].filter(([, value]) => typeof value === "function").map(([name]) => name);
  const remedy = functions.length > 0 ? `its functions are: ${functions.join(", ")}` : "it exports no function";
  const wrong = found === undefined ? `${file} has no export "${exportName}"` : `"${exportName}" is not a function`;
  return `${wrong}; ${remedy}`;
}

async function verdictOf(id: number, rollout: unknown, reward: (rollout: unknown) => unknown): Promise<Verdict> {
  tell({ is: "called", id });
  try {
    const result = reward(rollout);
    tell({ is: "returned", id });
    return toVerdict(await result);
  } catch (error) {
    return fault(`the reward threw: ${oneLine(error)}`);
  }
}

const reward = await load();
if (typeof reward === "string") tell({ is: "failed", reason: reward });
else {
  parentPort?.on("message", async (message: unknown) => {
    const { id, rollout } = rewardRequestSchema.parse(message);
    tell({ is: "verdict", id, verdict: await verdictOf(id, rollout, reward) });
  });
  tell({ is: "ready" });
}
