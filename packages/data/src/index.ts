// The public names of @gradus/data.
export { DataError, type DataErrorCode } from "./data-error.ts";
export { aceReasonStops, type Frame, renderPrompt } from "./frames.ts";
export { createLoader, type Loader, type LoaderOptions } from "./loader.ts";
export {
  type PackedBatch,
  type SftBatchOptions,
  sftBatches,
  type TokenizedSample,
  type TokenizedSamples,
  tokenizeSamples,
} from "./pack.ts";
export type { Message, Prompt, PromptText } from "./prompt.ts";
export { type Dataset, type DatasetOptions, parseDataset, readDataset } from "./read-dataset.ts";
export { type SftSample, sftSample } from "./sft-sample.ts";
