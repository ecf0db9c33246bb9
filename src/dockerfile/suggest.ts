/** "Did you mean ...": the nearest of the known words by edit distance. */

/** The known word nearest to `word` (at most two edits, fewer for short words), or undefined. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  const wanted = word.toLowerCase();
  let best: string | undefined;
  let bestDistance = wanted.length <= 3 ? 1.5 : 2.5;
  for (const candidate of known) {
    const distance = editDistance(wanted, candidate.toLowerCase(), 3);
    if (distance < bestDistance && distance < candidate.length) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** The name that an unknown variable was probably meant to be: fewer than three edits away, the first of the nearest; case counts. */
export function nearestVariable(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = 3;
  for (const candidate of known) {
    const distance = editDistance(name, candidate, 3, false);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** A hint of the form `did you mean X?`, or the list of what there is. */
export function suggestion(word: string, known: readonly string[], otherwise?: string): string | undefined {
  const match = nearest(word, known);
  return match === undefined ? otherwise : `did you mean ${match}?`;
}

/** Levenshtein distance, or with `swaps` the optimal string alignment distance (a swap of neighbours is one edit), cut off above `limit`. */
function editDistance(a: string, b: string, limit: number, swaps = true): number {
  if (Math.abs(a.length - b.length) > limit || a.length > 100) return limit + 1;
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, substitution);
      if (swaps && i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        cost = Math.min(cost, beforeLast[j - 2]! + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
