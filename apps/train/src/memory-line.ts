// The memory of a phase in one line: what the terminal and the report tell before its first step.
import type { MemoryPlan } from "./events.ts";

/** For example `weights 0.92 GiB · gradients 1.84 · optimizer 3.68 · activations 1.10 (3 layers computed again) · …`. */
export function memoryLine(plan: MemoryPlan): string {
  const [unit, size] = plan.total >= 2 ** 30 ? ["GiB", 2 ** 30] : ["MiB", 2 ** 20];
  const amount = (bytes: number): string => (bytes / size).toFixed(2);
  const again = [
    ...(plan.layersRecomputed > 0 ? [`${plan.layersRecomputed} layers`] : []),
    ...(plan.gateUpRecomputed > 0 ? [`gate and up of ${plan.gateUpRecomputed} layers`] : []),
  ];
  const recomputed = again.length === 0 ? "" : ` (${again.join(" and ")} computed again)`;
  return [
    `weights ${amount(plan.weights)} ${unit}`,
    `gradients ${amount(plan.gradients)}`,
    `optimizer ${amount(plan.optimizer)}`,
    `activations ${amount(plan.activations)}${recomputed}`,
    ...(plan.kvPages > 0 ? [`KV pages ${amount(plan.kvPages)} in turn with gradients and activations`] : []),
    `scratch ${amount(plan.scratch)}`,
    `at most ${amount(plan.total)} ${unit}`,
  ].join(" · ");
}
