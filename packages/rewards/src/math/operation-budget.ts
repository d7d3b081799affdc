// How much work a comparison may do: counted operations, not time, so that a verdict is the same on every machine and under every load.

/** Operations that may still be spent; shared by all steps of one comparison. */
export type OperationBudget = { left: number };

/** Thrown when a budget is spent; the comparison is then graded "timeout". */
export class BudgetSpent extends Error {
  override readonly name = "BudgetSpent";
}

/** Takes `operations` from the budget; throws BudgetSpent when it does not have them. */
export function spend(budget: OperationBudget, operations: number): void {
  budget.left -= operations;
  if (budget.left < 0) throw new BudgetSpent("the comparison's operation budget is spent");
}
