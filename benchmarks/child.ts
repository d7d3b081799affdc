// A process that measures: it loads once, then works only while a command of ours is open. One line of JSON each way.
import { type Command, reply } from "./jobs.ts";

export type Answer = Readonly<Record<string, number | string | readonly number[] | null>>;

export class Child {
  readonly #process: Bun.Subprocess<"pipe", "pipe", "pipe">;
  readonly #lines: AsyncIterator<string>;
  readonly #errors: Promise<string>;

  private constructor(command: readonly string[], env: Record<string, string>) {
    this.#process = Bun.spawn([...command], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
      env: { ...Bun.env, ...env },
    });
    this.#lines = linesOf(this.#process.stdout);
    this.#errors = new Response(this.#process.stderr).text();
  }

  /** Starts a child and waits until it is ready; gives what it said of itself. Throws when it could not start. */
  static async start(command: readonly string[], env: Record<string, string> = {}): Promise<[Child, Answer]> {
    const child = new Child(command, env);
    try {
      return [child, await child.#answer()];
    } catch (error) {
      await child.stop();
      throw error;
    }
  }

  /** Gives a command and waits for its answer. Throws with the child's own words when it failed. */
  async ask(command: Command): Promise<Answer> {
    this.#process.stdin.write(`${JSON.stringify(command)}\n`);
    this.#process.stdin.flush();
    return this.#answer();
  }

  async #answer(): Promise<Answer> {
    const { value: line, done } = await this.#lines.next();
    if (done) {
      const code = await this.#process.exited;
      const last = (await this.#errors).trimEnd().split("\n").at(-1) ?? "";
      throw new Error(`the process ended with exit code ${code}: ${last}`);
    }
    const read = reply.parse(JSON.parse(line));
    if ("error" in read) throw new Error(read.error);
    return read.ok;
  }

  /** Ends the child; its memory is free when this resolves. */
  async stop(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#process.exited;
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder();
  let open = "";
  for await (const chunk of stream) {
    const parts = (open + decoder.decode(chunk, { stream: true })).split("\n");
    open = parts.pop() ?? "";
    yield* parts;
  }
}
