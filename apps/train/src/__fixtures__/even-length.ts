// A reward of the user's own: 1 when the response has an even number of characters.

export function evenLength({ text }: { text: string }): number {
  return text.length % 2 === 0 ? 1 : 0;
}
