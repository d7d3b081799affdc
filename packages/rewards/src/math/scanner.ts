// The parser's place in an answer's text, and the few moves that every part of the parser makes.

/** Where the parser is. `bars` counts open absolute values, in which `|` closes. */
export type Scanner = {
  readonly text: string;
  /** Whether a comma before three digits groups digits rather than separating items. */
  groupsDigits: boolean;
  at: number;
  depth: number;
  bars: number;
};

/** The text is no answer that the parser knows; it is then compared as it is written. */
export class UnparsableAnswer extends Error {
  override readonly name = "UnparsableAnswer";
}

// Deeper answers are not honest, and the stack is finite.
const depthMax = 60;

export function scan(text: string, groupsDigits: boolean): Scanner {
  return { text, groupsDigits, at: 0, depth: 0, bars: 0 };
}

export function fail(scanner: Scanner, expected: string): never {
  throw new UnparsableAnswer(`expected ${expected} at character ${scanner.at}`);
}

export function skipSpace(scanner: Scanner): void {
  while (/\s/.test(scanner.text[scanner.at] ?? "")) scanner.at++;
}

/** The next character after white space, "" at the end. */
export function peek(scanner: Scanner): string {
  skipSpace(scanner);
  return scanner.text[scanner.at] ?? "";
}

/** Takes `token` if it is next after white space; a command only where its name ends there. */
export function accept(scanner: Scanner, token: string): boolean {
  skipSpace(scanner);
  if (!scanner.text.startsWith(token, scanner.at)) return false;
  const after = scanner.text[scanner.at + token.length] ?? "";
  if (/^\\[a-zA-Z]+$/.test(token) && /[a-zA-Z]/.test(after)) return false;
  scanner.at += token.length;
  return true;
}

export function expect(scanner: Scanner, token: string): void {
  if (!accept(scanner, token)) fail(scanner, token);
}

/** What a sticky pattern matches here (after white space), taken or only looked at. */
export function match(scanner: Scanner, pattern: RegExp): RegExpExecArray | null {
  skipSpace(scanner);
  pattern.lastIndex = scanner.at;
  return pattern.exec(scanner.text);
}

export function take(scanner: Scanner, pattern: RegExp): RegExpExecArray | null {
  const found = match(scanner, pattern);
  if (found) scanner.at += found[0].length;
  return found;
}

/** The name of the command that is next, without its backslash, or undefined. */
export function peekCommand(scanner: Scanner): string | undefined {
  return match(scanner, /\\([a-zA-Z]+)/y)?.[1];
}

/** Runs `parse` one level deeper; answers that nest too deep are unparsable. */
export function nested<T>(scanner: Scanner, parse: () => T): T {
  if (++scanner.depth > depthMax) fail(scanner, `at most ${depthMax} nested groups`);
  const result = parse();
  scanner.depth--;
  return result;
}

/** The text of the brace group that is next, braces balanced, without them. */
export function takeGroupText(scanner: Scanner): string {
  expect(scanner, "{");
  const start = scanner.at;
  for (let open = 1; scanner.at < scanner.text.length; scanner.at++) {
    const character = scanner.text[scanner.at];
    if (character === "\\") scanner.at++;
    else if (character === "{") open++;
    else if (character === "}" && --open === 0) return scanner.text.slice(start, scanner.at++);
  }
  return fail(scanner, "}");
}
