import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  beginToken,
  endToken,
  failure,
  removeTemporaryFolders,
  tinyConfig,
  tinyPolicy,
  tokenizerFolder,
} from "./__fixtures__/tiny-policy.ts";
import type { Policy, Progress } from "./index.ts";

let policy: Policy;
beforeAll(async () => {
  policy = await tinyPolicy({ tokenizer: tokenizerFolder() });
});
afterAll(() => policy.close());
afterAll(removeTemporaryFolders);

test("n responses a prompt; equal seeds give equal responses, other seeds others", async () => {
  const options = { n: 3, maxTokens: 12, temperature: 1, seed: 7 };
  const responses = await policy.generate(["one", "another"], options);
  expect(responses.map((group) => group.length)).toEqual([3, 3]);
  const texts = new Set(responses.flat().map(({ tokens }) => tokens.join()));
  expect(texts.size).toBe(6);
  expect(await policy.generate(["one", "another"], options)).toEqual(responses);
  expect(await policy.generate(["one", "another"], { ...options, seed: 8 })).not.toEqual(responses);
  expect(await policy.generate(["one", "another"], { ...options, purpose: "eval" })).not.toEqual(responses);
  expect(await policy.generate(["one", "another"], { ...options, seed: 7n })).toEqual(responses);
});

test("temperature 0 takes the likeliest token, and its logprob is that of temperature 1", async () => {
  const [greedy] = await policy.generate(["abc"], { n: 2, maxTokens: 8, temperature: 0 });
  expect(greedy?.[0]?.tokens).toEqual(greedy?.[1]?.tokens ?? new Uint32Array());
  const tokens = greedy?.[0]?.tokens ?? new Uint32Array();
  const [score] = await policy.score([Uint32Array.of(...Buffer.from("abc"), ...tokens)]);
  expect(greedy?.[0]?.logprobs).toEqual(score?.logprobs.slice(-tokens.length) ?? new Float32Array());
});

test("a response ends at its limit or with the end token, which counts and is no text", async () => {
  const responses = (await policy.generate(["x"], { n: 64, maxTokens: 100, temperature: 1 })).flat();
  const stopped = responses.filter(({ finishReason }) => finishReason === "stop");
  const cut = responses.filter(({ finishReason }) => finishReason === "length");
  expect(stopped.length).toBeGreaterThan(5);
  expect(cut.length).toBeGreaterThan(5);
  for (const { tokens, text, logprobs } of stopped) {
    expect(tokens.at(-1)).toBe(endToken);
    expect(text).not.toContain("<end>");
    expect(logprobs.length).toBe(tokens.length);
  }
  for (const { tokens } of cut) {
    expect(tokens.length).toBe(100);
    expect(tokens).not.toContain(endToken);
  }
});

test("a stop string ends a response across token borders and is not part of the text", async () => {
  const options = { maxTokens: 60, temperature: 1, seed: 11 };
  const [[whole] = []] = await policy.generate(["x"], options);
  const text = whole?.text ?? "";
  // Three characters are three or more tokens here.
  const characters = [...text];
  const stop = characters.slice(10, 13).join("");
  const [[stopped] = []] = await policy.generate(["x"], { ...options, stop: ["never", stop] });
  expect(stopped?.finishReason).toBe("stop");
  expect(stopped?.text).toBe(text.slice(0, text.indexOf(stop)));
  expect(stopped?.tokens).toEqual(whole?.tokens.slice(0, stopped?.tokens.length) ?? new Uint32Array());
});

test("a stop string that is a special token ends a response though no text shows it", async () => {
  const options = { n: 64, maxTokens: 100, temperature: 1 };
  const [responses = []] = await policy.generate(["x"], { ...options, stop: ["<user>"] });
  const ended = responses.filter(({ tokens }) => tokens.at(-1) === 257);
  expect(ended.length).toBeGreaterThan(3);
  expect(ended.every(({ finishReason }) => finishReason === "stop")).toBe(true);
  expect(responses.every(({ tokens }) => !tokens.slice(0, -1).includes(257))).toBe(true);
});

test("stream pieces together are generate's text, and never end inside a character", async () => {
  for (const seed of [1, 2, 3]) {
    for (const stop of [[], ["e", "ä"]]) {
      const [[whole] = []] = await policy.generate(["prompt"], { maxTokens: 80, seed, stop });
      const pieces: string[] = [];
      for await (const piece of policy.stream("prompt", { maxTokens: 80, seed, stop })) pieces.push(piece);
      expect(pieces.join("")).toBe(whole?.text ?? "");
      if (stop.length === 0) expect(pieces.length).toBeGreaterThan(3);
    }
  }
});

test("messages go through the folder's chat template", async () => {
  const messages = [{ role: "user" as const, content: "hé" }];
  const text = await policy.applyChatTemplate(messages);
  expect(text).toBe("<user>hé<assistant>");
  const ids = await policy.tokenize(text);
  expect(ids).toEqual(Uint32Array.of(257, ...Buffer.from("hé"), 258));
  expect(await policy.detokenize(ids)).toBe("hé");
  expect(await policy.detokenize(ids, { keepSpecial: true })).toBe(text);
  const options = { maxTokens: 9, seed: 2 };
  expect(await policy.generate([messages], options)).toEqual(await policy.generate([ids], options));
});

test("a text from a chat template gets no second beginning: in generate, stream and rollout alike", async () => {
  const template = "<begin>{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>";
  const own = await tinyPolicy({ tokenizer: tokenizerFolder({ addsBegin: true, template }) });
  const messages = [{ role: "user" as const, content: "a" }];
  const text = await own.applyChatTemplate(messages);
  const once = Uint32Array.of(beginToken, 257, 97, 258);
  expect(await own.tokenize(text, { addSpecial: false })).toEqual(once);
  expect(await own.tokenize(text, { addSpecial: true })).toEqual(Uint32Array.of(beginToken, ...once));

  const rendered = { text, addSpecial: false };
  const options = { maxTokens: 9, seed: 2 };
  const [expected] = await own.generate([once], options);
  for (const prompt of [rendered, messages]) expect(await own.generate([prompt], options)).toEqual([expected ?? []]);
  // Raw text gets the beginning from the tokenizer.
  const raw = { text: "<user>a<assistant>", addSpecial: true };
  for (const prompt of [raw, raw.text]) expect(await own.generate([prompt], options)).toEqual([expected ?? []]);

  let streamed = "";
  for await (const piece of own.stream(rendered, options)) streamed += piece;
  expect(streamed).toBe(expected?.[0]?.text ?? "");
  const batch = await own.rollout([rendered, raw, raw.text, messages, once], {
    groupSize: 1,
    maxResponseLength: 3,
    temperature: 1,
    seed: 2,
  });
  expect(batch.rollouts.map(({ promptLength }) => promptLength)).toEqual([4, 4, 4, 4, 4]);
  batch.close();
  await own.close();
});

test("progress is told while a call runs", async () => {
  const seen: Progress[] = [];
  const [responses = []] = await policy.generate(["x"], {
    n: 4,
    maxTokens: 40,
    onProgress: (progress) => seen.push(progress),
  });
  expect(seen.length).toBeGreaterThan(3);
  const tokens = responses.reduce((sum, response) => sum + response.tokens.length, 0);
  expect(Math.max(...seen.map((progress) => progress.tokens))).toBeLessThanOrEqual(tokens);
  expect(seen.every((progress) => progress.total === 4 && progress.finished <= 4)).toBe(true);
});

test("a signal ends a call within a step, with what there is", async () => {
  const endless = await tinyPolicy({ config: { ...tinyConfig, max_position_embeddings: 100_000, eos_token_id: null } });
  const abort = new AbortController();
  const running = endless.generate([Uint32Array.of(1)], {
    n: 2,
    maxTokens: 90_000,
    signal: abort.signal,
    onProgress: ({ tokens }) => {
      if (tokens >= 20) abort.abort();
    },
  });
  const [responses = []] = await running;
  expect(responses.map(({ finishReason }) => finishReason)).toEqual(["abort", "abort"]);
  expect(responses[0]?.tokens.length).toBeGreaterThanOrEqual(10);
  expect(responses[0]?.tokens.length).toBeLessThan(90_000);
  const [[early] = []] = await endless.generate([Uint32Array.of(1)], { maxTokens: 9, signal: AbortSignal.abort() });
  expect(early).toMatchObject({ finishReason: "abort", tokens: new Uint32Array() });
  const rollout = endless.rollout([Uint32Array.of(1)], {
    groupSize: 2,
    maxResponseLength: 90_000,
    temperature: 1,
    seed: 1,
    signal: AbortSignal.timeout(50),
  });
  expect((await failure(() => rollout)).code).toBe("aborted");
  // The policy goes on as if nothing had happened, and a stream that is left early leaves nothing running.
  for await (const _ of policy.stream("x", { maxTokens: 100 })) break;
  const [[after] = []] = await endless.generate([Uint32Array.of(1)], { maxTokens: 9 });
  expect(after?.tokens.length).toBe(9);
  await endless.close();
});

test("the event loop is free while the engine works", async () => {
  const busy = await tinyPolicy({ config: { ...tinyConfig, hidden_size: 256, intermediate_size: 1024 } });
  let ticks = 0;
  const timer = setInterval(() => {
    ticks += 1;
  }, 1);
  await busy.score(Array.from({ length: 40 }, () => new Uint32Array(128).fill(3)));
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(10);
  await busy.close();
});
