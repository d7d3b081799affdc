// Public data beside the repository, for tests and measurements: graders' cases and gold answers, which the repository
// itself must not contain. The folder is `GRADUS_SHARED`, else `shared` beside the repository.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { z } from "zod";

const folder = process.env.GRADUS_SHARED ?? join(import.meta.dir, "..", "..", "..", "..", "..", "shared");

/** The rows of a file of JSON lines (gzipped where its name says so), or undefined, said aloud, where it is absent. */
export function sharedRows<T>(path: string, schema: z.ZodType<T>): readonly T[] | undefined {
  const text = sharedText(path);
  return text
    ?.split("\n")
    .filter((line) => line !== "")
    .map((line) => schema.parse(JSON.parse(line)));
}

/** The text of a file (gzipped where its name says so), or undefined, said aloud, where it is absent. */
export function sharedText(path: string): string | undefined {
  const file = join(folder, path);
  if (!existsSync(file)) {
    console.warn(`${path} is not in ${folder} (set GRADUS_SHARED): this test has nothing to check`);
    return undefined;
  }
  const bytes = readFileSync(file);
  return (path.endsWith(".gz") ? gunzipSync(bytes) : bytes).toString();
}

const answerSchema = z.looseObject({ answer: z.coerce.string() });

/** The gold answers of a public set, row by row; undefined where the set is absent. One empty answer in MATH is left out. */
export function sharedGoldRows(path: string): readonly string[] | undefined {
  return sharedRows(path, answerSchema)
    ?.map(({ answer }) => answer)
    .filter((answer) => answer.trim() !== "");
}

/** The same, each once. */
export function sharedGolds(path: string): readonly string[] | undefined {
  const golds = sharedGoldRows(path);
  return golds && [...new Set(golds)];
}
