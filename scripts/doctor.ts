// `bun run doctor [--json]`: what this machine can do for Gradus, and what to do about what it cannot.
import { existsSync, readFileSync, statfsSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join } from "node:path";
import { gpuStatus } from "../packages/native/index.js";
import { probeSandbox } from "../packages/rewards/src/sandbox/probe.ts";
import { SandboxError } from "../packages/rewards/src/sandbox/sandbox-error.ts";
import { Policy } from "../packages/sdk/src/index.ts";
import { argumentsOf } from "./arguments.ts";

const root = join(import.meta.dir, "..");

/** One thing looked at. `remedy` says what to do where `ok` is false; `walls` what the sandbox tried, a line each. */
type Finding = { name: string; ok: boolean; found: string; remedy?: string; walls?: readonly string[] };

const given = argumentsOf(
  "doctor",
  "usage: bun run doctor [--json]\nTells what this machine can do for Gradus, and what to do about what it cannot.",
  ["--json"],
);

/** What a program prints as its version. */
function version(name: string, remedy: string, isNeeded = true): Finding {
  try {
    const child = Bun.spawnSync([name, "--version"], { stdout: "pipe", stderr: "ignore" });
    if (child.exitCode === 0) return { name, ok: true, found: child.stdout.toString().trim().split("\n")[0] ?? "" };
  } catch {
    // A program that is not there cannot be started: that is the finding.
  }
  return isNeeded ? { name, ok: false, found: "missing", remedy } : { name, ok: true, found: `missing, ${remedy}` };
}

/** The processor and the instruction sets that the engine has kernels for. */
function processor(): Finding {
  const flags = existsSync("/proc/cpuinfo")
    ? (/^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1] ?? "").split(" ")
    : [];
  const known = ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16"].filter((flag) => flags.includes(flag));
  const ok = known.includes("avx2") && known.includes("fma");
  const found = `${cpus()[0]?.model ?? "unknown"}, ${availableParallelism()} cores, ${known.join(" ") || "no AVX2"}`;
  return ok
    ? { name: "processor", ok, found }
    : {
        name: "processor",
        ok,
        found,
        remedy: "use an x86-64 machine with AVX2 and FMA; the portable kernels are for tests and very slow",
      };
}

/** Which dtypes the processor multiplies itself at an instruction level; the others run everywhere, with the same bits. */
function dtypesAt(level: string): string {
  const native = [
    "f32",
    ...(level === "avx512bf16" ? ["bf16"] : []),
    ...(["avx512vnni", "avx512bf16"].includes(level) ? ["q8_0"] : []),
  ];
  const others = ["bf16", "q8_0"].filter((dtype) => !native.includes(dtype));
  const rest = others.length === 0 ? "" : `, ${others.join(" and ")} by plain arithmetic`;
  return `native dtypes ${native.join(", ")}${rest}`;
}

/** The engine itself, by making a policy of a few hundred parameters. */
async function engine(): Promise<Finding> {
  const config = {
    architectures: ["Qwen2ForCausalLM"],
    hidden_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 1,
    num_key_value_heads: 1,
    intermediate_size: 16,
    vocab_size: 16,
    max_position_embeddings: 32,
    tie_word_embeddings: true,
    eos_token_id: 1,
  };
  try {
    const policy = await Policy.create({ config, seed: 1 });
    const { device, level, threads } = policy.info;
    await policy.close();
    return { name: "engine", ok: true, found: `${device}, kernels ${level}, ${threads} threads; ${dtypesAt(level)}` };
  } catch (error) {
    return {
      name: "engine",
      ok: false,
      found: error instanceof Error ? error.message : String(error),
      remedy: "bun run setup",
    };
  }
}

/** The sandbox for code rewards, by a probe that tries to break each wall. Whoever trains without code needs none. */
async function sandbox(): Promise<Finding> {
  const name = "sandbox";
  if (Bun.which("python3") === null) return { name, ok: true, found: "not tried: python3 is missing" };
  try {
    const greeting = await probeSandbox();
    const walls = greeting.walls.map(({ name, holds, detail }) => `${holds ? "holds" : "MISSING"}  ${name}: ${detail}`);
    if (greeting.type === "refused") return { name, ok: false, found: greeting.reason, remedy: greeting.remedy, walls };
    return { name, ok: true, found: `tier ${greeting.tier}, Python ${greeting.python}`, walls };
  } catch (error) {
    if (!(error instanceof SandboxError)) throw error;
    return { name, ok: false, found: error.reason, remedy: error.remedy };
  }
}

/** The GPU and its driver, the kernels of this build, the simulator. A machine without a GPU is as well as one with it. */
function gpu(): Finding {
  const { gpu, unavailable, kernels, simulator } = gpuStatus();
  const usable = unavailable === undefined ? 'device "cuda" can be had' : unavailable;
  const found = `${gpu ?? "none"}; ${usable}; kernels: ${kernels}; simulator: ${simulator ?? "not built"}`;
  return { name: "gpu", ok: true, found };
}

/** Room for checkpoints: the tiny recipe needs megabytes, a 0.5B policy 6 GB a checkpoint. */
function disk(): Finding {
  const { bavail, bsize } = statfsSync(root);
  const gib = (bavail * bsize) / 1024 ** 3;
  const found = `${gib.toFixed(0)} GiB free`;
  return gib >= 2
    ? { name: "disk", ok: true, found }
    : { name: "disk", ok: false, found, remedy: "free at least 2 GiB, or put the runs elsewhere with --out" };
}

const findings: Finding[] = [
  processor(),
  { name: "memory", ok: true, found: `${(totalmem() / 1024 ** 3).toFixed(0)} GiB` },
  disk(),
  { name: "bun", ok: true, found: Bun.version },
  version("cargo", "install Rust from https://rustup.rs"),
  version("cc", "install a C compiler (Debian, Ubuntu: apt-get install g++)"),
  version(
    "g++",
    "the simulator of the kernels needs it, and with it bun run test (Debian, Ubuntu: apt-get install g++)",
    false,
  ),
  version("python3", "code rewards need it (Debian, Ubuntu: apt-get install python3)", false),
  await engine(),
  await sandbox(),
  gpu(),
];
if (given.includes("--json")) console.log(JSON.stringify({ findings }));
else {
  const indent = "\n                ";
  for (const { name, ok, found, remedy, walls = [] } of findings) {
    const more = [...walls, ...(remedy === undefined ? [] : [`→ ${remedy}`])].map((line) => indent + line).join("");
    console.log(`${ok ? "ok  " : "FAIL"} ${name.padEnd(10)} ${found}${more}`);
  }
}
process.exit(findings.every(({ ok }) => ok) ? 0 : 1);
