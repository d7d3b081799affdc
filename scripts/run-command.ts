// Runs a program for the scripts: output shown as it comes and kept for counting.

/** What a finished program left: its exit code and everything it printed. */
export type CommandResult = { exitCode: number; output: string };

/** What a process that outlives the program, and holds its output open, may hold it up. */
const leftoverMilliseconds = 1000;

/** Runs `command` in `cwd`; with `show`, what it prints goes to stdout as it comes. */
export async function runCommand(
  command: readonly string[],
  options: { cwd: string; show: boolean; env?: Record<string, string> },
): Promise<CommandResult> {
  const child = Bun.spawn([...command], {
    cwd: options.cwd,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...Bun.env, ...options.env },
  });
  let output = "";
  const follow = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true });
      output += text;
      if (options.show) process.stdout.write(text);
    }
  };
  const followed = Promise.all([follow(child.stdout), follow(child.stderr)]);
  const exitCode = await child.exited;
  await Promise.race([followed, new Promise((resolve) => setTimeout(resolve, leftoverMilliseconds).unref())]);
  return { exitCode, output };
}
