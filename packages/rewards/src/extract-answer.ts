// Finds the final answer in a response: the first step of every math verdict.

/**
 * The content of the last balanced `\boxed{…}` or `\fbox{…}` of the graded part of `text`, or undefined.
 * If the prompt opened a thought (`<think>`) and the response never closes it, there is no answer.
 */
export function extractAnswer(text: string, promptText = ""): string | undefined {
  const graded = gradedPart(text, promptText);
  return graded === undefined ? undefined : lastBoxed(graded);
}

/** The contents of all boxes on the line of the last box, from left to right; none where there is no closed box. */
export function boxesOnLastLine(text: string): readonly string[] {
  const last = text.lastIndexOf("\\boxed");
  const start = text.lastIndexOf("\n", Math.max(last, text.lastIndexOf("\\fbox"))) + 1;
  const boxes: string[] = [];
  let line = text.slice(start);
  for (let box = lastBox(line); box; box = lastBox(line)) {
    boxes.unshift(line.slice(box.start, box.end));
    if (boxes.length === boxesMax) break;
    line = line.slice(0, box.command);
  }
  return boxes;
}

// More boxes than this on one line are no list of answers.
const boxesMax = 20;

/** What follows the last `</think>`; the whole response where no thought was opened; else undefined. */
export function gradedPart(text: string, promptText: string): string | undefined {
  const close = text.lastIndexOf("</think>");
  if (close >= 0) return text.slice(close + "</think>".length);
  return opensThought(promptText) ? undefined : text;
}

/** Whether the prompt ends inside a thought. */
function opensThought(promptText: string): boolean {
  return promptText.lastIndexOf("<think>") > promptText.lastIndexOf("</think>");
}

/**
 * The content of the last `\boxed` or `\fbox` whose brace is closed. One pass with a stack, so that
 * 10^5 nested or unclosed braces cost no more than their length; `\{` and `\}` are characters, not braces.
 */
export function lastBoxed(text: string): string | undefined {
  const box = lastBox(text);
  return box && text.slice(box.start, box.end);
}

/** Where the last closed box is: its command, and the start and end of its content. */
function lastBox(text: string): { command: number; start: number; end: number } | undefined {
  const open: { content: number; boxed: boolean; command: number }[] = [];
  let best: { command: number; start: number; end: number } | undefined;
  let boxEnd = -1; // index just after a `\boxed` and the white space that follows it
  let boxStart = -1;
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "\\") {
      const command = /^\\(?:boxed|fbox)(?![a-zA-Z])\s*/.exec(text.slice(at, at + 64));
      if (command) {
        boxStart = at;
        boxEnd = at + command[0].length;
        at = boxEnd - 1;
      } else at++;
    } else if (character === "{") {
      open.push({ content: at + 1, boxed: at === boxEnd, command: boxStart });
    } else if (character === "}") {
      const group = open.pop();
      // A box that opened later is the later box, even where it closed earlier (nested boxes).
      if (group?.boxed && (!best || group.content > best.start)) {
        best = { command: group.command, start: group.content, end: at };
      }
    }
  }
  return best;
}
