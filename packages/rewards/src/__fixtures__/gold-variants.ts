// Other ways to write a gold answer, and answers that are not it: what math verification is measured with, on the gold
// answers of public sets. Every rewriting keeps the meaning by its form alone; nothing here asks the comparison.

type Rewriting = { readonly name: string; readonly write: (gold: string) => string | undefined };

/** The rewritings, by name. Each gives undefined where the form is not there. */
export const rewritings: readonly Rewriting[] = [
  { name: "dfrac", write: (gold) => changed(gold, gold.replace(/\\[dt]?frac(?![a-zA-Z])/g, "\\dfrac")) },
  { name: "tfrac", write: (gold) => changed(gold, gold.replace(/\\[dt]?frac(?![a-zA-Z])/g, "\\tfrac")) },
  { name: "slash", write: slashFraction },
  { name: "short fraction", write: (gold) => changed(gold, gold.replace(/\\frac\{(\d)\}\{(\d)\}/g, "\\frac$1$2")) },
  { name: "short root", write: (gold) => changed(gold, gold.replace(/\\sqrt\{(\d)\}/g, "\\sqrt$1")) },
  { name: "decimal", write: exactDecimal },
  { name: "fraction of a decimal", write: fractionOfDecimal },
  { name: "whole decimal", write: (gold) => (/^-?\d{1,12}$/.test(gold) ? `${gold}.0` : undefined) },
  { name: "left and right", write: leftRight },
  { name: "no left and right", write: (gold) => changed(gold, gold.replace(/\\(?:left|right)(?![a-zA-Z])/g, "")) },
  { name: "thin spaces", write: (gold) => spaced(gold, "\\,") },
  { name: "spaces", write: (gold) => spaced(gold, " ") },
  { name: "no spaces", write: (gold) => changed(gold, gold.replace(/(?<![a-zA-Z\\])\s+|\s+(?![a-zA-Z\\])/g, "")) },
  { name: "dollars", write: (gold) => (gold.includes("$") ? undefined : `$${gold}$`) },
  { name: "display style", write: (gold) => `\\displaystyle ${gold}` },
  { name: "full stop", write: (gold) => (/[\\a-z]$/i.test(gold) ? undefined : `${gold}.`) },
  { name: "other order", write: otherOrder },
  { name: "braces", write: (gold) => (listItems(gold) ? `\\{${gold}\\}` : undefined) },
  { name: "terms in another order", write: otherTerms },
  {
    name: "no unit",
    write: (gold) =>
      changed(gold, gold.replace(/^(-?[\d.]+)\s*(?:\\ )?\\(?:text|mbox)\{[^{}]*\}(?:\^\{?\d\}?)?$/, "$1")),
  },
  { name: "no degree", write: (gold) => changed(gold, gold.replace(/^(-?[\d.]+)\^(?:\\circ|\{\\circ\})$/, "$1")) },
  { name: "degree group", write: (gold) => changed(gold, gold.replace(/\^\\circ(?![a-zA-Z])/g, "^{\\circ}")) },
  { name: "grouped digits", write: groupedDigits },
  { name: "ungrouped digits", write: (gold) => changed(gold, gold.replace(/(\d),\\!(?=\d{3})/g, "$1")) },
  {
    name: "named",
    write: (gold) => (/^-?(?:\d+|\\frac\{\d+\}\{\d+\}|\d*\\sqrt\{\d+\})$/.test(gold) ? `x = ${gold}` : undefined),
  },
];

function changed(gold: string, written: string): string | undefined {
  return written === gold ? undefined : written;
}

function slashFraction(gold: string): string | undefined {
  const parts = /^(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}$/.exec(gold);
  return parts ? `${parts[1]}${parts[2]}/${parts[3]}` : undefined;
}

// a/b as a decimal where the decimal ends.
function exactDecimal(gold: string): string | undefined {
  const parts = /^(-?)\\[dt]?frac\{(\d{1,6})\}\{(\d{1,6})\}$/.exec(gold);
  if (!parts) return undefined;
  const [above, below] = [BigInt(parts[2] ?? "0"), BigInt(parts[3] ?? "0")];
  for (let places = 1; below > 0n && places <= 12; places++) {
    const scaled = above * 10n ** BigInt(places);
    if (scaled % below !== 0n) continue;
    const digits = (scaled / below).toString().padStart(places + 1, "0");
    return `${parts[1]}${digits.slice(0, -places)}.${digits.slice(-places)}`;
  }
  return undefined;
}

function fractionOfDecimal(gold: string): string | undefined {
  const parts = /^(-?)(\d+)\.(\d{1,9})$/.exec(gold);
  return parts
    ? `${parts[1]}\\frac{${BigInt(`${parts[2]}${parts[3]}`)}}{1${"0".repeat(parts[3]?.length ?? 0)}}`
    : undefined;
}

function leftRight(gold: string): string | undefined {
  if (
    /\\(?:left|right|text|mbox|\{|\})|\\begin/.test(gold) ||
    (gold.match(/[([]/g)?.length ?? 0) !== (gold.match(/[)\]]/g)?.length ?? 0)
  ) {
    return undefined;
  }
  return changed(
    gold,
    gold.replace(/\\sqrt\[\d+\]|[([]|[)\]]/g, (found) =>
      found.length > 1 ? found : /[([]/.test(found) ? `\\left${found}` : `\\right${found}`,
    ),
  );
}

// Space around signs and behind commas, but not where a comma groups digits or a name would be cut.
function spaced(gold: string, space: string): string | undefined {
  if (/\\(?:text|mbox)|,\\|\{,\}|\d,\d{3}(?!\d)/.test(gold)) return undefined;
  return changed(gold, gold.replace(/\s*([+=]|(?<=[\d})a-z])-|,)\s*/g, `${space}$1${space}`));
}

/** The items of a bare list, or undefined: commas outside all brackets. */
function listItems(gold: string): readonly string[] | undefined {
  if (/\\text|\\!|\bor\b|=|\\begin|\\pm|;|^\D*\d{1,3}(?:,\d{3})+\D*$/.test(gold)) return undefined;
  const items = splitOutside(gold, ",");
  return items.length > 1 && items.every((item) => item.trim() !== "") ? items : undefined;
}

function splitOutside(text: string, separator: string): string[] {
  const items = [""];
  let depth = 0;
  for (const character of text) {
    if (/[([{]/.test(character)) depth++;
    if (/[)\]}]/.test(character)) depth--;
    if (character === separator && depth === 0) items.push("");
    else items[items.length - 1] += character;
  }
  return items;
}

function otherOrder(gold: string): string | undefined {
  const items = listItems(gold);
  return items && changed(gold, [...items].reverse().join(", "));
}

// a + b as b + a, where no item may begin with a minus sign.
function otherTerms(gold: string): string | undefined {
  if (/[=,<>]|\\(?:text|mbox|pm|cup|cap|begin|le|ge|in)(?![a-zA-Z])|:/.test(gold)) return undefined;
  const terms = splitOutside(gold, "+");
  if (
    terms.length < 2 ||
    terms.some((term) => term.trim() === "" || splitOutside(term.trim().slice(1), "-").length > 1)
  )
    return undefined;
  return [...terms]
    .reverse()
    .map((term) => term.trim())
    .join(" + ")
    .replace(/\+ -/g, "- ");
}

function groupedDigits(gold: string): string | undefined {
  return /^\d{4,9}$/.test(gold) ? gold.replace(/(?<=\d)(?=(?:\d{3})+$)/g, ",") : undefined;
}

/** One answer that is near the gold one and means something else. */
export function perturbed(gold: string, random: () => number): string {
  // What follows an approximation sign is not part of the answer.
  const exact = gold.split("\\approx")[0] || gold;
  const places = [...exact.matchAll(/\d+(?:\.\d+)?/g)].filter(({ index }) => !/_\{?$/.test(gold.slice(0, index)));
  const chosen = places[Math.floor(random() * places.length)];
  if (chosen && random() < 0.7) {
    const [digits] = chosen;
    const last = digits.at(-1) ?? "0";
    const other = `${digits.slice(0, -1)}${last === "9" ? "8" : Number(last) + 1}`;
    const after = gold.slice(chosen.index + digits.length);
    return `${gold.slice(0, chosen.index)}${other}${after}`;
  }
  if (/^[([].*[)\]]$/.test(gold) && !gold.includes("\\cup"))
    return `${gold.startsWith("(") ? "[" : "("}${gold.slice(1)}`;
  if (/^\\text\{.*\}$/.test(gold)) return gold.replace("{", "{un");
  if (/^(?:\\frac|\\sqrt|\\pi|[a-z\d])/i.test(gold) && !/[=,<>:;_]|\\(?:text|pm|mbox)|^0+(?:\.0+)?$/.test(gold))
    return `${gold}+1`;
  return places.length > 0 ? perturbed(gold, () => random() * 0.69) : `${gold}, 7`;
}

/** The rewritings that a gold answer has, applied. */
export function rewritten(gold: string): readonly { readonly name: string; readonly text: string }[] {
  return rewritings.flatMap(({ name, write }) => {
    const text = write(gold);
    return text === undefined ? [] : [{ name, text }];
  });
}
