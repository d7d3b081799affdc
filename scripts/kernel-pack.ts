// The kernel pack: every compiled kernel file for every architecture in one file, which the engine embeds (format: crates/cuda/src/pack.rs).
import { createHash } from "node:crypto";

const magic = "GRADUSK1";

/** One kernel file, compiled for one architecture: a cubin for "sm_…", PTX for "compute_…". */
export type CompiledModule = { name: string; arch: string; kernels: readonly string[]; image: Uint8Array };

/** The bytes of a pack. `sources` is the hash of what was compiled. */
export function packOf(compiler: string, sources: string, modules: readonly CompiledModule[]): Uint8Array {
  let offset = 0;
  const listed = modules.map(({ name, arch, kernels, image }) => {
    const entry = { name, arch, kernels, offset, bytes: image.length, sha256: sha256(image) };
    offset += image.length;
    return entry;
  });
  const header = new TextEncoder().encode(JSON.stringify({ compiler, sources, modules: listed }));
  const start = new Uint8Array(16);
  start.set(new TextEncoder().encode(magic));
  new DataView(start.buffer).setBigUint64(8, BigInt(header.length), true);
  return Buffer.concat([start, header, ...modules.map(({ image }) => image)]);
}

/** The hash of the sources that a pack was made of; undefined where it is no pack. */
export function sourcesOf(pack: Uint8Array): string | undefined {
  if (pack.length < 16 || new TextDecoder().decode(pack.subarray(0, 8)) !== magic) return undefined;
  const length = Number(new DataView(pack.buffer, pack.byteOffset).getBigUint64(8, true));
  const header = new TextDecoder().decode(pack.subarray(16, 16 + length));
  return /"sources":"([0-9a-f]+)"/.exec(header)?.[1];
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
