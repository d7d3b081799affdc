// Before the first step: the policy loaded, the data read, every limit checked. Nothing is written to disk here.
import { ConfigError, type ResolvedRun } from "@gradus/config";
import { startLoop } from "@gradus/rl";
import { checkpointSteps, damagedCheckpoints } from "./checkpoints.ts";
import { type Evaluate, loadEvaluation } from "./evaluation.ts";
import type { MemoryPlan, RunEvent } from "./events.ts";
import { openReward } from "./open-reward.ts";
import { loadPhases, type Phase } from "./phases.ts";
import { RecipeState } from "./recipe-state.ts";
import type { PolicySource, ResumedPolicy, RunPolicy } from "./run-policy.ts";

export type PreparedRun = {
  /** The run with what memory decides decided: what config.json holds, and what every resume goes on with. */
  readonly run: ResolvedRun;
  /** What each phase that is to come will take, by name. */
  readonly memory: ReadonlyMap<string, MemoryPlan>;
  readonly policy: RunPolicy;
  readonly state: RecipeState;
  readonly phases: readonly Phase[];
  readonly evaluate: Evaluate | null;
  /** Where the policy comes from when it goes on from a checkpoint. */
  readonly resumed: Pick<ResumedPolicy, "step" | "folder"> | null;
  /** Ends the policy and what judges its responses. */
  readonly close: () => Promise<void>;
};

/**
 * @param checkpoints the folder to go on from; null for a new run. A run that never reached a checkpoint begins anew.
 * @param rollouts gives the folder of rollout files, which a new run has only later.
 * @throws ConfigError, DataError, and the errors of the policy and the reward; what was opened is closed again.
 */
export async function prepareRun(input: {
  readonly run: ResolvedRun;
  readonly policies: PolicySource;
  readonly checkpoints: string | null;
  readonly rollouts: () => string;
  /** Seconds from any fixed moment. */
  readonly clock: () => number;
  readonly show: (event: RunEvent) => void;
}): Promise<PreparedRun> {
  const { run, policies, checkpoints, show } = input;
  const reward = await openReward(run);
  const opened: (() => void | Promise<void>)[] = [async () => reward.close?.()];
  const close = async (): Promise<void> => {
    for (const end of opened.splice(0).reverse()) await end();
  };
  try {
    const resumed = checkpoints === null ? null : await resume(checkpoints, run, policies);
    const policy = resumed?.policy ?? (await policies.start(run));
    opened.push(() => policy.close());
    for (const text of resumed?.warnings ?? []) show({ type: "note", text });
    const state = resumed === null ? startState() : readState(resumed.recipeState, resumed.folder);
    const context = { run, policy, reward, rollouts: input.rollouts, clock: input.clock, show };
    const phases = await loadPhases(context, state.phase);
    const memory = await planMemory(policy, phases.slice(state.phase));
    const [plan] = memory.values();
    const decided = plan === undefined ? run : { ...run, activationBytesMax: plan.activationsMax };
    const evaluate = await loadEvaluation(context);
    return { run: decided, memory, policy, state, phases, evaluate, resumed, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function planMemory(policy: RunPolicy, phases: readonly Phase[]): Promise<Map<string, MemoryPlan>> {
  const plans = new Map<string, MemoryPlan>();
  for (const { name, shape } of phases) if (shape !== null) plans.set(name, await policy.planMemory(shape));
  return plans;
}

async function resume(checkpoints: string, run: ResolvedRun, policies: PolicySource): Promise<ResumedPolicy | null> {
  if (checkpointSteps(checkpoints).length === 0 && damagedCheckpoints(checkpoints).length === 0) return null;
  try {
    return await policies.resume(checkpoints, run);
  } catch (error) {
    if (checkpointSteps(checkpoints).length > 0) throw error;
    const aside = damagedCheckpoints(checkpoints).join(", ");
    const message = `${checkpoints}: no checkpoint is whole, all were set aside as damaged: ${aside}`;
    throw new ConfigError(`${message}; start a new run, or put a whole copy back as step-N`, { cause: error });
  }
}

function startState(): RecipeState {
  return {
    format: 1,
    phase: 0,
    loop: startLoop(),
    tokens: 0,
    logprobAbsDiffMax: 0,
    wallSeconds: 0,
    evals: [],
    epochEnds: [],
    passHistory: {},
  };
}

function readState(value: unknown, folder: string): RecipeState {
  const parsed = RecipeState.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new ConfigError(
    `${folder}/recipe.json: ${issue?.path.join(".")}: ${issue?.message}; it was written by another version, start a new run`,
  );
}
