// Finds the name that a mistyped one most likely meant: hints for config keys, flags, presets, runs.

/**
 * The candidate closest to `name`, or undefined when none is close enough to be a likely typing error.
 * Case and punctuation weigh less than letters, so `max-response-length` finds `maxResponseLength`.
 */
export function nearestName(name: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const distance = editDistance(plain(name), plain(candidate)) + (name === candidate ? 0 : 0.5);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  const tolerated = Math.max(1, Math.ceil(name.length / 3)) + 0.5;
  return bestDistance <= tolerated ? best : undefined;
}

/** ` (did you mean "x"?)`, or the whole list when nothing is near, ready to end an error message. */
export function nameHint(name: string, candidates: Iterable<string>): string {
  const known = [...candidates];
  const nearest = nearestName(name, known);
  if (nearest !== undefined) return ` (did you mean "${nearest}"?)`;
  return known.length === 0 ? "" : ` (known: ${known.join(", ")})`;
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[-_.\s]/g, "");
}

// Damerau's distance in its "optimal string alignment" form: one swap of neighbours counts as one error.
function editDistance(left: string, right: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: right.length + 1 }, (_, column) => column);
  for (let row = 1; row <= left.length; row++) {
    const current = [row];
    for (let column = 1; column <= right.length; column++) {
      const same = left[row - 1] === right[column - 1];
      let distance = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      const swapped =
        row > 1 && column > 1 && left[row - 1] === right[column - 2] && left[row - 2] === right[column - 1];
      if (swapped) distance = Math.min(distance, (beforeLast[column - 2] ?? 0) + 1);
      current.push(distance);
    }
    beforeLast = last;
    last = current;
  }
  return last[right.length] ?? 0;
}
