// A sandbox that belongs to one reward (or one command): started when it is first needed, ended with it, and started anew after that.
import { type Sandbox, startSandbox } from "../sandbox/sandbox.ts";

export type OwnSandbox = {
  /** The sandbox, started where there is none. A start that failed is tried anew by the next call. */
  readonly open: () => Promise<Sandbox>;
  readonly close: () => Promise<void>;
};

export function ownSandbox(start: () => Promise<Sandbox> = startSandbox): OwnSandbox {
  let sandbox: Promise<Sandbox> | undefined;
  return {
    open: () => {
      sandbox ??= start().catch((error: unknown) => {
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
