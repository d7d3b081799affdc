// The public names of @gradus/config.
export { absolutePaths } from "./absolute-paths.ts";
export { ConfigError } from "./config-error.ts";
export { type ConfigInput, defineConfig } from "./config-input.ts";
export { jsonSchemaText } from "./json-schema.ts";
export { type ConfigFiles, loadConfigFile } from "./load.ts";
export { nameHint, nearestName } from "./nearest-name.ts";
export { AdamW } from "./optimizer-schema.ts";
export { applyOverride, isBooleanPath, isConfigPath } from "./overrides.ts";
export { layOver } from "./policy-layers.ts";
export { preset, presetNames, presetTree } from "./presets/index.ts";
export { type ResolvedRun, resolveRun } from "./resolve.ts";
export { RlSection, type Stage } from "./rl-schema.ts";
export { type EvalConfig, RunConfig } from "./schema.ts";
export type { SftConfig } from "./sft-schema.ts";
export type { Tree } from "./tree.ts";
