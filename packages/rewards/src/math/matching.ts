// Pairs the items of two collections, each with one partner: how sets and lists are compared whatever their order.

/** Whether every item of `a` can be paired with its own equal item of `b`. */
export function matchesAll<T>(a: readonly T[], b: readonly T[], equal: (a: T, b: T) => boolean): boolean {
  if (a.length !== b.length) return false;
  const partner = new Map<number, number>();
  const assign = (index: number, seen: Set<number>): boolean =>
    b.some((other, place) => {
      const item = a[index];
      if (item === undefined || seen.has(place) || !equal(item, other)) return false;
      seen.add(place);
      const holder = partner.get(place);
      if (holder !== undefined && !assign(holder, seen)) return false;
      partner.set(place, index);
      return true;
    });
  return a.every((_, index) => assign(index, new Set()));
}

/** The items without those whose key was seen before. */
export function distinct<T>(items: readonly T[], key: (item: T) => string): readonly T[] {
  return [...new Map(items.map((item) => [key(item), item])).values()];
}
