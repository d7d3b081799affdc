// The first step on an answer's text: what only sets type is removed, and one spelling is chosen for what has several.
// What remains means the same; every rule here is about LaTeX and Unicode, none about mathematics.

const unicode: ReadonlyMap<string, string> = new Map(
  Object.entries({
    "−": "-",
    "–": "-",
    "×": "\\times ",
    "·": "\\cdot ",
    "⋅": "\\cdot ",
    "÷": "/",
    "∕": "/",
    "⁄": "/",
    π: "\\pi ",
    θ: "\\theta ",
    α: "\\alpha ",
    β: "\\beta ",
    γ: "\\gamma ",
    λ: "\\lambda ",
    "∞": "\\infty ",
    "√": "\\sqrt ",
    "≤": "\\le ",
    "≥": "\\ge ",
    "≠": "\\ne ",
    "≈": "\\approx ",
    "±": "\\pm ",
    "∓": "\\mp ",
    "∪": "\\cup ",
    "∩": "\\cap ",
    "∈": "\\in ",
    "∅": "\\emptyset ",
    ℝ: "\\mathbb{R}",
    "°": "^{\\circ}",
    "¢": "\\text{ cents}",
    "′": "'",
    "²": "^{2}",
    "³": "^{3}",
    "½": "\\frac{1}{2}",
    "¼": "\\frac{1}{4}",
    "¾": "\\frac{3}{4}",
    "⟨": "\\langle ",
    "⟩": "\\rangle ",
    "\u00a0": " ",
    "\u2009": " ",
    "\u202f": " ",
    "，": ",",
    "（": "(",
    "）": ")",
  }),
);
const unicodePattern = new RegExp(`[${[...unicode.keys()].join("")}]`, "gu");

/** The answer without what only sets type: delimiters, sizes, spacing, font commands; one spelling for synonyms. */
export function cleanAnswer(answer: string): string {
  const text = answer
    .replace(unicodePattern, (character) => unicode.get(character) ?? character)
    .replace(/\\\\\s*\[[^\]]{0,20}\]/g, "\\\\ ")
    .replace(/(\d)\s*(?:,\s*\\!|\{\s*,\s*\}(?:\s*\\!)?)\s*(?=\d{3}(?!\d))/g, "$1")
    .replace(/(\d)\s*\{\s*,\s*\}\s*(?=\d)/g, "$1.")
    .replace(spacing, spaced)
    .replace(/\\(?:displaystyle|textstyle|scriptstyle|limits|nolimits|strut|hfill|boldmath)(?![a-zA-Z])/g, " ")
    .replace(/\\m?(?:left|right|middle)(?![a-zA-Z])\s*(\.?)/g, (_, empty: string) => (empty ? " " : ""))
    .replace(/\\[bB]igg?[lrm]?(?![a-zA-Z])/g, "")
    .replace(/\\(?:label|tag|hspace|vspace|hphantom|vphantom|phantom|color)\*?\s*\{[^{}]*\}/g, " ")
    .replace(/\\[dtc]frac(?![a-zA-Z])/g, "\\frac")
    .replace(/\\[dt]binom(?![a-zA-Z])/g, "\\binom")
    .replace(/\\(?:mbox|textnormal|textrm|textsf|texttt|hbox|textup|textbf|textit|emph)(?![a-zA-Z])/g, "\\text")
    .replace(
      /\\(?:mathbf|mathit|mathcal|mathscr|mathfrak|mathnormal|mathsf|boldsymbol|bm|mathtt|operatorname\*?)(?![a-zA-Z])/g,
      "\\mathrm",
    )
    .replace(/\\[lr](?:brace|brack|paren)(?![a-zA-Z])/g, (name) => brackets.get(name) ?? name)
    .replace(/\\[()[\]]/g, " ");
  return withoutDollars(text)
    .replace(/\*\*/g, "^")
    .replace(/(?<!\\)\\$/, "")
    .replace(/[\s.]+$/, "")
    .trim();
}

const brackets: ReadonlyMap<string, string> = new Map([
  ["\\lbrace", "\\{"],
  ["\\rbrace", "\\}"],
  ["\\lbrack", "["],
  ["\\rbrack", "]"],
  ["\\lparen", "("],
  ["\\rparen", ")"],
]);

// A row's end (`\\`) is matched first, so that its second backslash is not taken for a control space.
const spacing =
  /\\\\|\\!\s*|\\q?quad|\\(?:thinspace|medspace|thickspace|enspace|enskip|space)(?![a-zA-Z])|\\[,:;>\s]|~/g;

// A thin space between digits groups them (`1\,234`); any other spacing separates, and `\!` joins.
function spaced(command: string, at: number, text: string): string {
  if (command === "\\\\") return command;
  if (command.startsWith("\\!")) return "";
  const isThin = command === "\\," || command === "\\:" || command === "\\;";
  const groups = isThin && /\d/.test(text[at - 1] ?? "") && /^\d{3}(?!\d)/.test(text.slice(at + 2, at + 6));
  return groups ? "" : " ";
}

// Dollar signs in pairs delimit mathematics; one without a partner, or escaped, is money.
function withoutDollars(text: string): string {
  const paired = (text.match(/(?<!\\)\$/g)?.length ?? 0) % 2 === 0;
  return text.replace(/\\\$/g, "\\dollar ").replace(/\$/g, paired ? " " : "\\dollar ");
}
