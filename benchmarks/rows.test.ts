// When a target is met, when a peer's figure counts, and what a row looks like.
import { describe, expect, test } from "bun:test";
import { isMet, isPeerSound, machineKind, median, ratioOf, row, spread } from "./rows.ts";

const ratio = (value: number) => ({ kind: "ratio", value }) as const;

describe("targets", () => {
  test("a ratio to the peer", () => {
    expect(isMet("tokens/s", ratio(1.5), { ours: 150, peer: 100, limit: 1000 })).toBe(true);
    expect(isMet("tokens/s", ratio(1.5), { ours: 149, peer: 100, limit: 1000 })).toBe(false);
  });

  test("or 80% of the limit, where that is less", () => {
    expect(isMet("tokens/s", ratio(1.5), { ours: 120, peer: 100, limit: 150 })).toBe(true);
    expect(isMet("tokens/s", ratio(1.5), { ours: 119, peer: 100, limit: 150 })).toBe(false);
  });

  test("seconds and bytes are better when fewer", () => {
    expect(isMet("s", ratio(2), { ours: 1, peer: 2, limit: null })).toBe(true);
    expect(isMet("s", ratio(2), { ours: 1.1, peer: 2, limit: null })).toBe(false);
    expect(isMet("s", ratio(2), { ours: 1.25, peer: 2, limit: 1 })).toBe(true);
    expect(isMet("s", ratio(2), { ours: 1.26, peer: 2, limit: 1 })).toBe(false);
    expect(ratioOf("GiB", 10, 13)).toBe(1.3);
  });

  test("without a peer no ratio is met, whatever the limit", () => {
    expect(isMet("tokens/s", ratio(1), { ours: 99, peer: null, limit: 100 })).toBe(false);
  });

  test("a share of the limit and bounds stand as they are", () => {
    expect(isMet("tests/s", { kind: "least", value: 150 }, { ours: 150, peer: null, limit: null })).toBe(true);
    expect(isMet("tests/s", { kind: "least", value: 150 }, { ours: 149, peer: null, limit: null })).toBe(false);
    expect(isMet("GFLOP/s", { kind: "share", value: 0.88 }, { ours: 88, peer: null, limit: 100 })).toBe(true);
    expect(isMet("GFLOP/s", { kind: "share", value: 0.88 }, { ours: 87, peer: null, limit: 100 })).toBe(false);
    expect(isMet("s", { kind: "most", value: 1 }, { ours: 1, peer: 9, limit: null })).toBe(true);
    expect(isMet("s", { kind: "most", value: 1 }, { ours: 1.01, peer: 9, limit: null })).toBe(false);
  });
});

test("a peer below 0.8 of its figure on the same kind of machine does not count", () => {
  expect(isPeerSound("tokens/s", 80, 100)).toBe(true);
  expect(isPeerSound("tokens/s", 79, 100)).toBe(false);
  expect(isPeerSound("s", 5, 4)).toBe(true);
  expect(isPeerSound("s", 5.1, 4)).toBe(false);
  expect(isPeerSound("tokens/s", 1, undefined)).toBe(true);
});

test("Zen 3 and Zen 4 are told apart; other machines have no earlier figures", () => {
  const amd = (family: number, flags: string) =>
    `vendor_id\t: AuthenticAMD\ncpu family\t: ${family}\nflags\t\t: ${flags}\n`;
  expect(machineKind(amd(25, "fma avx2"))).toBe("zen3");
  expect(machineKind(amd(25, "avx2 avx512f avx512_bf16"))).toBe("zen4");
  expect(machineKind(amd(26, "avx2 avx512f avx512_bf16"))).toBeUndefined();
  expect(machineKind("vendor_id\t: GenuineIntel\ncpu family\t: 6\n")).toBeUndefined();
});

test("medians and spreads", () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 2, 3])).toBe(2.5);
  expect(() => median([])).toThrow("nothing");
  expect(spread([90, 100, 110])).toBe(0.1);
  expect(spread([])).toBe(0);
});

test("a row has every field, and no other", () => {
  const good = {
    ...{ work: "a", unit: "s", ours: 1, peer: null, peer_name: null, ratio: null, limit: null, target: 2 },
    ...{ target_kind: "ratio", met: false, state: "peer missing", note: null, ours_repeats: [1], peer_repeats: [] },
  };
  expect(row.parse(good).met).toBe(false);
  expect(row.safeParse({ ...good, limit: 0 }).success).toBe(false);
  expect(row.safeParse({ ...good, seconds: 1 }).success).toBe(false);
});
