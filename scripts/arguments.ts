// Arguments of the verbs that take none, or almost none: `--help` explains, anything unknown is refused before work starts.

/** The arguments, each of which must be in `allowed`; prints `usage` and ends for --help, refuses with exit code 2 otherwise. */
export function argumentsOf(verb: string, usage: string, allowed: readonly string[] = []): readonly string[] {
  const given = process.argv.slice(2);
  if (given.includes("--help")) {
    console.log(usage);
    process.exit(0);
  }
  const unknown = given.find((argument) => !allowed.includes(argument));
  if (unknown === undefined) return given;
  console.error(`${verb}: unknown argument ${unknown}; there are ${[...allowed, "--help"].join(", ")}`);
  process.exit(2);
}
