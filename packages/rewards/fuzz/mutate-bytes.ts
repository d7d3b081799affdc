// Mutations of bytes for fuzz targets: flipped, cut, doubled, joined; lengths and limits set to their edges.

/** Numbers at which length fields break. */
const edges = [
  0, 1, 2, 0x7f, 0xff, 0x100, 0xffff, 0x1_0000, 0x1_0001, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff,
];

/** `bytes` with one to five changes; `others` is what parts are taken from. */
export function mutatedBytes(bytes: Uint8Array, others: readonly Uint8Array[], random: () => number): Uint8Array {
  let changed = Uint8Array.from(bytes);
  const below = (count: number) => Math.floor(random() * count);
  for (let change = below(5); change >= 0; change--) {
    const at = below(changed.length + 1);
    const end = Math.min(changed.length, at + 1 + below(16));
    switch (below(6)) {
      case 0:
        if (at < changed.length) changed[at] = (changed[at] ?? 0) ^ (1 << below(8));
        break;
      case 1:
        if (at < changed.length) changed[at] = below(256);
        break;
      case 2:
        changed = joined(changed.subarray(0, at), changed.subarray(end));
        break;
      case 3:
        changed = joined(changed.subarray(0, end), changed.subarray(at));
        break;
      case 4: {
        const other = others[below(others.length)] ?? changed;
        changed = joined(changed.subarray(0, at), other.subarray(below(other.length + 1)));
        break;
      }
      default:
        if (changed.length >= 4) {
          new DataView(changed.buffer).setUint32(
            below(Math.min(8, changed.length - 3)),
            edges[below(edges.length)] ?? 0,
            true,
          );
        }
    }
  }
  return changed;
}

/** One array of all parts. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let begin = 0;
  for (const part of parts) {
    whole.set(part, begin);
    begin += part.length;
  }
  return whole;
}
