// EvalPlus's files in the folder that --data names, each read when the first row asks for it.
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { type EvalPlusDataset, type EvalPlusTask, FormatError, readEvalPlus } from "@gradus/rewards";

/** The tasks of a data set. Rejects with a FormatError that says where the file was looked for. */
export type EvalPlusData = (dataset: EvalPlusDataset) => Promise<ReadonlyMap<string, EvalPlusTask>>;

const places = {
  humaneval: { folder: "humaneval_plus", file: /^HumanEvalPlus(?!-(?:Mini|NoExtreme)).*\.jsonl(\.gz)?$/ },
  mbpp: { folder: "mbpp_plus", file: /^MbppPlus.*\.jsonl(\.gz)?$/ },
} as const;

/** Each data set's file in its folder under `data`, or in `data` itself. */
export function evalPlusFolder(data: string | undefined): EvalPlusData {
  const loaded = new Map<EvalPlusDataset, ReturnType<EvalPlusData>>();
  return (dataset) => {
    const known = loaded.get(dataset) ?? load(data, dataset);
    loaded.set(dataset, known);
    return known;
  };
}

async function load(data: string | undefined, dataset: EvalPlusDataset): ReturnType<EvalPlusData> {
  const { folder, file } = places[dataset];
  if (data === undefined) throw new FormatError(`rows of evalplus need --data FOLDER with ${folder} in it`);
  for (const place of [join(data, folder), data]) {
    const name = (await namesIn(place)).sort().find((candidate) => file.test(candidate));
    if (name === undefined) continue;
    const bytes = await readFile(join(place, name));
    const text = name.endsWith(".gz") ? await promisify(gunzip)(bytes) : bytes;
    return readEvalPlus(text.toString(), dataset);
  }
  throw new FormatError(
    `no EvalPlus file for ${dataset} in ${join(data, folder)}; expected a name like ${file.source}`,
  );
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    return [];
  }
}
