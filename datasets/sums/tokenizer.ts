// The sums task's tokenizer.json (Hugging Face tokenizers format): one token a character, decoded without added spaces.

export const endToken = "<|im_end|>";
const padToken = "<|pad|>";
const unknownToken = "<|unknown|>";
const characters = [..."0123456789+-=; "];
const special = [padToken, endToken, unknownToken];

/** Ids: the special tokens first, then the characters. */
export function tokenizerJson(): object {
  const vocab = Object.fromEntries([...special, ...characters].map((token, id) => [token, id]));
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: { type: "Split", pattern: { Regex: "[\\s\\S]" }, behavior: "Isolated", invert: false },
    post_processor: null,
    decoder: { type: "Fuse" },
    model: { type: "WordLevel", vocab, unk_token: unknownToken },
  };
}
