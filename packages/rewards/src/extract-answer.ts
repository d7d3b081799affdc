// Finds the final answer in a response: the first step of every math verdict.

/**
 * The content of the last balanced `\boxed{…}` or `\fbox{…}` of the graded part of `text`, or undefined.
 * If the prompt opened a thought (`<think>`) and the response never closes it, there is no answer.
 */
export function extractAnswer(text: string, promptText = ""): string | undefined {
  const graded = gradedPart(text, promptText);
  return graded === undefined ? undefined : lastBoxed(graded);
}

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
  const open: { content: number; boxed: boolean }[] = [];
  let best: { content: number; end: number } | undefined;
  let boxEnd = -1; // index just after a `\boxed` and the white space that follows it
  for (let at = 0; at < text.length; at++) {
    const character = text[at];
    if (character === "\\") {
      const command = /^\\(?:boxed|fbox)(?![a-zA-Z])\s*/.exec(text.slice(at, at + 64));
      if (command) {
        boxEnd = at + command[0].length;
        at = boxEnd - 1;
      } else at++;
    } else if (character === "{") {
      open.push({ content: at + 1, boxed: at === boxEnd });
    } else if (character === "}") {
      const group = open.pop();
      // A box that opened later is the later box, even where it closed earlier (nested boxes).
      if (group?.boxed && (!best || group.content > best.content)) best = { content: group.content, end: at };
    }
  }
  return best && text.slice(best.content, best.end);
}
