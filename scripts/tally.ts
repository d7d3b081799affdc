// Reads how many tests passed and failed, and which failed, from what the test runners print.

export type Tally = { passed: number; failed: number; failures: readonly string[] };

const firstGroups = (output: string, pattern: RegExp) => [...output.matchAll(pattern)].map((match) => match[1] ?? "");
const sum = (values: readonly string[]) => values.reduce((total, value) => total + Number(value), 0);

/** Sums cargo's "test result: ok. 3 passed; 0 failed; …" lines, one for each test binary. */
export function countCargoTests(output: string): Tally {
  return {
    passed: sum(firstGroups(output, /^test result: \w+\. (\d+) passed;/gm)),
    failed: sum(firstGroups(output, /^test result: \w+\. \d+ passed; (\d+) failed;/gm)),
    failures: firstGroups(output, /^---- (.+) stdout ----$/gm),
  };
}

/** Reads bun's closing " 12 pass" and " 0 fail" lines; an error outside a test counts as a failure. */
export function countBunTests(output: string): Tally {
  const last = (pattern: RegExp) => Number(firstGroups(output, pattern).at(-1) ?? 0);
  const outside = firstGroups(output, /^# Unhandled error between tests\n-+\n[\s\S]*?^(error: .*)$/gm);
  return {
    passed: last(/^ *(\d+) pass$/gm),
    failed: last(/^ *(\d+) fail$/gm) + last(/^ *(\d+) errors?$/gm),
    failures: [...firstGroups(output, /^\(fail\) (.+)$/gm), ...outside],
  };
}
