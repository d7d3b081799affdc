// Rows as people read them: a line of a table on the terminal, and one of RESULTS.md.
import { type Row, spread } from "./rows.ts";

/** Three significant digits. */
export const short = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString("en") : String(Number(value.toPrecision(3)));

const withSpread = (value: number | null, repeats: readonly number[]) =>
  value === null ? "–" : `${short(value)} ±${(100 * spread(repeats)).toFixed(0)}%`;

const targetText = ({ target, target_kind }: Row) =>
  ({ ratio: `${target}x`, share: `${Math.round(100 * target)}%`, most: `≤ ${target}`, least: `≥ ${short(target)}` })[
    target_kind
  ];

const metText = ({ met, state }: Row) => (met === null ? state : met ? "yes" : state === "measured" ? "no" : state);

/** The cells of a row: work, unit, ours, peer, ratio, target, share of the limit, met. */
export function cells(row: Row): string[] {
  const { work, unit, ours, peer, ratio, limit } = row;
  const ofLimit =
    ours === null || limit === null ? "–" : `${Math.round(100 * (unit === "s" ? limit / ours : ours / limit))}%`;
  return [
    work,
    unit,
    withSpread(ours, row.ours_repeats),
    withSpread(peer, row.peer_repeats),
    ratio === null ? "–" : `${ratio.toFixed(2)}x`,
    targetText(row),
    ofLimit,
    metText(row),
  ];
}

export const headings = ["work", "unit", "ours", "peer", "ratio", "to reach", "of limit", "met"];

const widths = [58, 9, 14, 14, 8, 9, 9, 12];

/** Cells in columns: the first two to the left, figures to the right. */
export function tableLine(texts: readonly string[]): string {
  return texts
    .map((text, index) => (index < 2 ? text.padEnd(widths[index] ?? 0) : text.padStart(widths[index] ?? 0)))
    .join(" ");
}
