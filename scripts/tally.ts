// Reads how many tests passed and failed from what the test runners print.

export type Tally = { passed: number; failed: number };

/** Sums cargo's "test result: ok. 3 passed; 0 failed; …" lines, one for each test binary. */
export function countCargoTests(output: string): Tally {
  let passed = 0;
  let failed = 0;
  for (const match of output.matchAll(/^test result: \w+\. (\d+) passed; (\d+) failed;/gm)) {
    passed += Number(match[1]);
    failed += Number(match[2]);
  }
  return { passed, failed };
}

/** Reads bun's closing " 12 pass" and " 0 fail" lines; an error outside a test counts as a failure. */
export function countBunTests(output: string): Tally {
  const last = (pattern: RegExp) => Number([...output.matchAll(pattern)].at(-1)?.[1] ?? 0);
  return { passed: last(/^ *(\d+) pass$/gm), failed: last(/^ *(\d+) fail$/gm) + last(/^ *(\d+) errors?$/gm) };
}
