// The public names of @gradus/store.
export {
  type CheckpointRow,
  type EvalRow,
  openStore,
  type RunRow,
  type StageRow,
  type StepMetricsRow,
  type StepRow,
  type Store,
  StoreError,
} from "./store.ts";
