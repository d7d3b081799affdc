// A sandbox that belongs to one reward: started when it is first needed, ended with the reward, and started anew after that.
import { type Sandbox, startSandbox } from "../sandbox/sandbox.ts";

export type OwnSandbox = {
  /** The sandbox, started where there is none. A start that failed is tried anew by the next call. */
  readonly open: () => Promise<Sandbox>;
  readonly close: () => Promise<void>;
};

export function ownSandbox(): OwnSandbox {
  let sandbox: Promise<Sandbox> | undefined;
  return {
    open: () => {
      sandbox ??= startSandbox().catch((error: unknown) => {
        sandbox = undefined;
        throw error;
      });
      return sandbox;
    },
    close: async () => {
      const started = sandbox;
      sandbox = undefined;
      // A start that fails says so to whoever asked for it.
      await (await started?.catch(() => undefined))?.close();
    },
  };
}
