// The one error of the public API, and the edge where native errors become it.

/**
 * What went wrong, for programs; the message tells people. Codes are never renamed.
 * "bad-option": an option that is unknown or malformed · "bad-input": arguments that do not fit together ·
 * "bad-config": a config.json that the engine cannot compute · "unsupported": refused by name, the message says what is there ·
 * "out-of-range" · "not-found" · "exists" · "damaged-file" · "not-permitted" · "disk-full" · "out-of-memory" · "io" ·
 * "device": the GPU or its driver failed · "busy": a rollout is running · "aborted": by a signal · "closed" · "off-policy": the
 * trainer's logprobs differ from the sampler's · "non-finite": too many updates in a row, or the logits of a response, were not
 * finite · "all-faults": the reward failed on every response ·
 * "sandbox-refused": programs cannot be run here, the message names the wall · "sandbox-failed": its daemon is missing or ended ·
 * "internal": a fault of ours, the policy is lost.
 */
export type GradusErrorCode = (typeof codes)[number];

const codes = [
  "bad-option",
  "bad-input",
  "bad-config",
  "unsupported",
  "out-of-range",
  "not-found",
  "exists",
  "damaged-file",
  "not-permitted",
  "disk-full",
  "out-of-memory",
  "io",
  "device",
  "busy",
  "aborted",
  "closed",
  "off-policy",
  "non-finite",
  "all-faults",
  "sandbox-refused",
  "sandbox-failed",
  "internal",
] as const;

/**
 * Bad input, a missing file, a full disk: `message` names the value and what to do, `code` is stable, `value` is the offending value.
 *
 * @example
 * try {
 *   await Policy.load("./nowhere");
 * } catch (error) {
 *   if (error instanceof GradusError && error.code === "not-found") console.error(error.message);
 * }
 */
export class GradusError extends Error {
  override readonly name = "GradusError";
  readonly code: GradusErrorCode;
  readonly value: unknown;

  constructor(code: GradusErrorCode, message: string, details: { value?: unknown; cause?: unknown } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.value = details.value;
  }
}

/** Awaits a native call; its error becomes a GradusError. */
export async function fromNative<T>(call: () => Promise<T> | T): Promise<T> {
  try {
    return await call();
  } catch (cause) {
    throw toGradusError(cause);
  }
}

/** A native error carries `{ code, message, value? }` as JSON in its message; anything else is a fault of ours. */
export function toGradusError(cause: unknown): GradusError {
  if (cause instanceof GradusError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  const fault = parseFault(text);
  if (fault === undefined)
    return new GradusError("internal", `the engine failed (${text}); report the fault`, { cause });
  return new GradusError(fault.code, fault.message, { value: fault.value, cause });
}

function parseFault(text: string): { code: GradusErrorCode; message: string; value: unknown } | undefined {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof json !== "object" || json === null || !("code" in json) || !("message" in json)) return undefined;
  const code = codes.find((known) => known === json.code);
  if (code === undefined || typeof json.message !== "string") return undefined;
  return { code, message: json.message, value: "value" in json ? json.value : undefined };
}
