// The extraction of the mode `mathverify`: where in free text the answer stands, most telling place first. It follows
// Math-Verify's order: "final answer is …, I hope", "final answer is" and boxes, "answer:", "answer", then any
// mathematics, the last one first. Every search is linear in the text.

/** What is looked for: LaTeX in its delimiters, plain numbers and arithmetic, or both. */
export type MatchType = "latex" | "expr";

/** A place that may hold the answer: the pieces (joined by "and", "or" or commas) and where it ends. */
export type Candidate = { readonly pieces: readonly Piece[]; readonly start: number; readonly end: number };
type Piece = { readonly text: string; readonly isPercent: boolean; readonly isPlain: boolean };

// The answer stands near the end; what comes before is not searched.
const charactersMax = 20_000;
const piecesMax = 6;

/** Groups of candidates by priority; in a group, the one that ends last comes first. */
export function* candidatesIn(whole: string, types: readonly MatchType[]): Generator<readonly Candidate[]> {
  const text = whole.slice(-charactersMax);
  const latex = types.includes("latex") ? latexPlaces(text) : [];
  const plain = types.includes("expr") ? plainPlaces(text) : [];
  const all = [...latex, ...plain];
  yield ordered([
    ...latex.filter((place) => isAfter(text, place, /final answer is:?\s*$/i) && hopes(text, place)),
    ...plain.filter((place) => isAfter(text, place, /final answer is:?\s*[$€£]?$/i) && hopes(text, place)),
  ]);
  yield ordered([
    ...all.filter((place) => isAfter(text, place, /final answer[\s\S]{0,100}?\sis:?\s*[$€£]?$/i)),
    ...(types.includes("latex") ? boxedPlaces(text, latex) : []),
  ]);
  for (const word of ["answer:", "answer"]) {
    const equation = new RegExp(`${word}.{0,100}=\\s*$`, "i");
    yield ordered([
      ...nearest(text, latex, word),
      ...nearest(text, plain, word),
      ...plain.filter((place) => isAfter(text, place, equation)),
    ]);
  }
  yield ordered(all);
}

function ordered(places: readonly Candidate[]): readonly Candidate[] {
  return [...places].sort((a, b) => b.end - a.end || a.start - b.start);
}

function isAfter(text: string, { start }: Candidate, before: RegExp): boolean {
  return before.test(text.slice(Math.max(0, start - 160), start));
}

// The place that follows each occurrence of a word, within 50 characters.
function nearest(text: string, places: readonly Candidate[], word: string): readonly Candidate[] {
  const starts = [...places].sort((a, b) => a.start - b.start);
  const lower = text.toLowerCase();
  const found: Candidate[] = [];
  let next = 0;
  for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + 1)) {
    const end = at + word.length;
    while ((starts[next]?.start ?? end) < end) next++;
    const place = starts[next];
    if (place && place.start - end <= 50) found.push(place);
  }
  return found;
}

function hopes(text: string, { end }: Candidate): boolean {
  return /^\.?\s?I hope/.test(text.slice(end, end + 12));
}

/** One span of LaTeX in its delimiters. */
type Span = { readonly content: string; readonly start: number; readonly end: number; readonly isPercent: boolean };

// Spans joined by "and", "or" or commas are one place.
function latexPlaces(text: string): Candidate[] {
  const places: Candidate[] = [];
  const spans = latexSpans(text);
  for (let index = 0; index < spans.length; index++) {
    const joined: Span[] = [];
    for (let next = spans[index]; next && joined.length < piecesMax; next = spans[index + joined.length]) {
      const before = joined.at(-1);
      if (before && !/^\s*(?:,?and|,?or|,)\s*$/.test(text.slice(before.end, Math.min(next.start, before.end + 60))))
        break;
      if (before && next.start - before.end > 60) break;
      joined.push(next);
    }
    const [first] = joined;
    const last = joined.at(-1);
    if (!first || !last) continue;
    places.push({ pieces: joined.map(toPiece), start: first.start, end: last.end });
    index += joined.length - 1;
  }
  return places;
}

function toPiece({ content, isPercent }: Span): Piece {
  return { text: content, isPercent, isPlain: false };
}

function latexSpans(text: string): Span[] {
  const spans: Span[] = [];
  const next = finder(text);
  for (let at = 0; at < text.length; ) {
    const found = spanAt(text, at, next);
    if (!found) {
      at++;
      continue;
    }
    const percent = /^\s*(?:\\?%|[Pp]ercent|[Pp]ercentage|[Pp]ct)/.exec(text.slice(found.end, found.end + 24));
    const end = found.end + (percent?.[0].length ?? 0);
    spans.push({ ...found, end, isPercent: percent !== null });
    at = Math.max(end, at + 1);
  }
  return spans;
}

type Finder = (needle: string, from: number) => number;

// indexOf that remembers, so that a missing end is searched for once and not once an opening.
function finder(text: string): Finder {
  const found = new Map<string, number>();
  return (needle, from) => {
    const known = found.get(needle);
    if (known !== undefined && (known < 0 || known >= from)) return known;
    const at = text.indexOf(needle, from);
    found.set(needle, at);
    return at;
  };
}

function spanAt(text: string, at: number, next: Finder): Omit<Span, "isPercent"> | undefined {
  const before = text[at - 1] ?? "";
  const within = (open: number, close: string, oneLine: boolean) => {
    const end = next(close, at + open + 1);
    if (end < 0 || (oneLine && nextIn(next, "\n", at + open, end))) return undefined;
    const content = text.slice(at + open, end);
    return content.trim() === "" ? undefined : { content, start: at, end: end + close.length };
  };
  switch (text[at]) {
    case "$":
      if (before === "\\") return undefined;
      if (text[at + 1] === "$") return within(2, "$$", false);
      return /\d/.test(before) ? undefined : inlineDollar(text, at, next);
    case "\\":
      if (before === "\\") return undefined;
      if (text[at + 1] === "[") return within(2, "\\]", false);
      if (text[at + 1] === "(") return within(2, "\\)", true);
      return fractionAt(text, at);
    case "[":
      return /\s/.test(before) ? spacedBracket(text, at, next) : undefined;
    default:
      return undefined;
  }
}

function nextIn(next: Finder, needle: string, from: number, to: number): boolean {
  const at = next(needle, from);
  return at >= 0 && at < to;
}

function inlineDollar(text: string, at: number, next: Finder): Omit<Span, "isPercent"> | undefined {
  let end = next("$", at + 1);
  while (end > 0 && text[end - 1] === "\\") end = next("$", end + 1);
  if (end < 0 || end === at + 1 || nextIn(next, "\n", at, end)) return undefined;
  return { content: text.slice(at + 1, end), start: at, end: end + 1 };
}

// A fraction of plain numbers counts without delimiters.
function fractionAt(text: string, at: number): Omit<Span, "isPercent"> | undefined {
  const found = /^\\frac\{-?\d+(?:[.,]\d+)?\}\{-?\d+(?:[.,]\d+)?\}/.exec(text.slice(at, at + 80));
  if (!found) return undefined;
  const start = text[at - 1] === "-" ? at - 1 : at;
  return { content: text.slice(start, at + found[0].length), start, end: at + found[0].length };
}

// [ … ] between white space, on one line.
function spacedBracket(text: string, at: number, next: Finder): Omit<Span, "isPercent"> | undefined {
  const end = next("]", at + 1);
  if (end < 0 || !/\s/.test(text[end + 1] ?? "") || nextIn(next, "\n", at, end) || nextIn(next, "[", at + 1, end))
    return undefined;
  return { content: text.slice(at + 1, end), start: at, end: end + 1 };
}

// Boxes: in a span of LaTeX all of them are one answer; in the text as a whole, the last and those close before it.
function boxedPlaces(text: string, latex: readonly Candidate[]): Candidate[] {
  const inSpans = latex
    .filter(({ pieces }) => pieces.some((piece) => piece.text.includes("\\boxed{")))
    .map((place) => ({ ...place, pieces: place.pieces.map((piece) => ({ ...piece, text: allBoxes(piece.text) })) }));
  const first = text.indexOf("\\boxed{");
  const end = text.lastIndexOf("}") + 1;
  if (first < 0 || end <= first) return inSpans;
  const content = lastBoxes(text.slice(first, end));
  return [...inSpans, { pieces: [{ text: content, isPercent: false, isPlain: false }], start: first, end }];
}

type Box = { readonly start: number; readonly end: number; readonly content: string };

// Boxes from the last to the first; a box that never closes reaches to the end.
function* boxesBackwards(text: string): Generator<Box> {
  let limit = text.length;
  for (let count = 0; count < 50; count++) {
    const before = text.slice(0, limit);
    const start = Math.max(before.lastIndexOf("\\boxed"), before.lastIndexOf("\\fbox"));
    if (start < 0) return;
    const brace = /^\\(?:boxed|fbox)\s*/.exec(text.slice(start, limit))?.[0].length ?? 0;
    const open = start + brace;
    const close = text[open] === "{" ? closingBrace(text, open, limit) : undefined;
    if (close === undefined) {
      if (limit === text.length) yield { start, end: limit, content: text.slice(open, limit) };
      return;
    }
    yield { start, end: close + 1, content: text.slice(open + 1, close).trim() };
    limit = start;
  }
}

function closingBrace(text: string, open: number, limit: number): number | undefined {
  let depth = 0;
  for (let at = open; at < limit; at++) {
    if (text[at] === "{") depth++;
    else if (text[at] === "}" && --depth === 0) return at;
  }
  return undefined;
}

/** The contents of all boxes, joined by commas; the text itself where it has none. */
export function allBoxes(text: string): string {
  if (!/\\(?:boxed|fbox)/.test(text)) return text;
  return (
    [...boxesBackwards(text)]
      .map(({ content }) => content)
      .reverse()
      .join(",") || text
  );
}

function lastBoxes(text: string): string {
  const taken: Box[] = [];
  for (const box of boxesBackwards(text)) {
    const after = taken.at(-1);
    if (after) {
      const between = text.slice(box.end, after.start);
      const isListed = between.length < 70 && box.content !== after.content && /and|or|,|;/.test(between);
      if (between.length >= 10 && !isListed) break;
    }
    taken.push(box);
  }
  return taken
    .map(({ content }) => content)
    .reverse()
    .join(",");
}

// Numbers and arithmetic outside LaTeX: after white space, "=" or a currency sign. Runs are bounded.
const arithmetic =
  /(?<=^|\s|=)(?:\*\*)?(-?\(?-?\d[\d.\s+\-*×/^()÷]{0,80}[+\-*×/^()÷][\d.\s+\-*×/^()÷]{1,80}\)?)(?:\*\*)?(?=[.,:\s)$]|$)/g;
const plainNumber =
  /(?<=^|\s|=)(?:\*\*)?[$€£¥₹₽₩₫฿]?(?<!\d)(-?[1-9]\d{0,2}(?:[ ,]\d{3})+(?:\.\d+)?|-?\d+[.,]\d+|\.\d+|-?\d+)(\s*(?:%|[Pp]ercentage|[Pp]ercent|[Pp]ct))?/g;

function plainPlaces(text: string): Candidate[] {
  const places: Candidate[] = [];
  for (const found of text.matchAll(arithmetic))
    places.push(plainPlace(found, (found[1] ?? "").replace(/÷/g, "/"), false));
  for (const found of text.matchAll(plainNumber)) {
    places.push(plainPlace(found, decimalPoint(found[1] ?? ""), found[2] !== undefined));
  }
  return places;
}

function plainPlace(found: RegExpMatchArray, text: string, isPercent: boolean): Candidate {
  const start = (found.index ?? 0) + found[0].indexOf(found[1] ?? "");
  return { pieces: [{ text, isPercent, isPlain: true }], start, end: (found.index ?? 0) + found[0].length };
}

// 1,234 and 1 234 group digits; 12,5 has a decimal comma.
function decimalPoint(text: string): string {
  if (/^-?[1-9]\d{0,2}(?:[ ,]\d{3})+(?:\.\d+)?$/.test(text)) return text.replace(/[ ,]/g, "");
  return text.replace(",", ".");
}
