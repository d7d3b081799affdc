// The type of a config file: any part of a run, and the preset it builds on.
import type { z } from "zod";
import type { RunConfig } from "./schema.ts";

type DeepPartial<T> = T extends readonly unknown[]
  ? T
  : T extends object
    ? { [K in keyof T]?: DeepPartial<T[K]> | undefined }
    : T;

/** What a config file says: the fields that differ from `extends` and the defaults. */
export type ConfigInput = DeepPartial<z.input<typeof RunConfig>> & {
  $schema?: string;
  extends?: string | ConfigInput | undefined;
};

/** Types a config file: `export default defineConfig({ extends: preset("tiny"), seed: 2 })`. */
export function defineConfig(config: ConfigInput): ConfigInput {
  return config;
}
