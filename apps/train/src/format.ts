// Numbers, durations and curves as short text, for every view.

const bars = "▁▂▃▄▅▆▇█";

/** The last `width` values as a line of bars; finer than that, neighbours are averaged. */
export function sparkline(values: readonly number[], width: number): string {
  const points = values.length <= width ? values : averaged(values, width);
  const [low, high] = [Math.min(...points), Math.max(...points)];
  return points
    .map((value) => bars[high === low ? 0 : Math.round(((value - low) / (high - low)) * (bars.length - 1))])
    .join("");
}

function averaged(values: readonly number[], width: number): number[] {
  return Array.from({ length: width }, (_, index) => {
    const part = values.slice(
      Math.floor((index * values.length) / width),
      Math.floor(((index + 1) * values.length) / width),
    );
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}

/** Seconds as 8 s, 3:05 or 2:03:05. */
export function duration(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return (parts[0] === 0 ? parts.slice(1) : parts)
    .map((part, index) => (index === 0 ? `${part}` : `${part}`.padStart(2, "0")))
    .join(":");
}

/** A number with `digits` significant digits, without an exponent where it can be read. */
export function short(value: number, digits = 3): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 10_000 && size < 1e9) return Math.round(value).toLocaleString("en-US");
  return size >= 1e-3 && size < 10_000 ? `${Number(value.toPrecision(digits))}` : value.toExponential(digits - 1);
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

/** `text` on one line of at most `width` characters, line breaks shown. */
export function oneLine(text: string, width: number): string {
  const line = text.replaceAll("\r", "").replaceAll("\n", "⏎");
  return line.length <= width ? line : `${line.slice(0, Math.max(0, width - 1))}…`;
}

/** Rows as aligned columns; the first row is the head. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? "").length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
