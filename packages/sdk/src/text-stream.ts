// From pieces that come by callback and a final text to an async generator of pieces.

/**
 * Yields what `start` hands to `onPiece`, and when its promise gives the whole text, what of it has not come yet:
 * events and the answer travel apart, so the last pieces may come late. A rejection is thrown after the pieces before it.
 */
export async function* textStream(
  start: (onPiece: (text: string) => void) => Promise<string>,
): AsyncGenerator<string, void, undefined> {
  const pieces: string[] = [];
  let wake = () => {};
  const onPiece = (text: string) => {
    pieces.push(text);
    wake();
  };
  let outcome: (() => string) | undefined;
  const settle = (result: () => string) => {
    outcome = result;
    wake();
  };
  start(onPiece).then(
    (text) => settle(() => text),
    (error: unknown) =>
      settle(() => {
        throw error;
      }),
  );
  let yielded = 0;
  while (outcome === undefined || pieces.length > 0) {
    const text = pieces.splice(0).join("");
    yielded += text.length;
    if (text !== "") yield text;
    else
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
  }
  const rest = outcome().slice(yielded);
  if (rest !== "") yield rest;
}
