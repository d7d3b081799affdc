// What the scripts see of the programs they run: everything printed, the exit code, and an end.
import { expect, test } from "bun:test";
import { runCommand } from "./run-command.ts";

const quietly = { cwd: import.meta.dir, show: false };

test("output of both streams is whole, whatever its size, and the exit code is the program's", async () => {
  const program = "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2; exit 7";
  const { exitCode, output } = await runCommand(["sh", "-c", program], quietly);
  expect(exitCode).toBe(7);
  expect(output.replaceAll("x", "")).toBe("end\n");
  expect(output.length).toBe(3_000_004);
});

test("a process that a program leaves behind does not hold up its caller", async () => {
  const { exitCode, output } = await runCommand(["sh", "-c", "sleep 1000 & echo $!"], quietly);
  process.kill(Number(output), "SIGKILL");
  expect(exitCode).toBe(0);
}, 20_000);
