// `bun run bench --setup-peers`: a Python environment with the peers, pinned, in the build folder. Nothing else of Gradus needs it.
import { existsSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const requirements = join(import.meta.dir, "peers", "requirements.txt");
const folder = join(root, "build", "peers", "venv");

/** The interpreter of the peers' environment; it is there once the environment was made. */
export const peersPython = join(folder, "bin", "python");

/** What `bun run bench` says where a peer is missing. */
export const peersRemedy = "bun run bench --setup-peers";

/** The newest Python that the pinned packages were tested with comes first; `python3` is whatever the machine calls so. */
const candidates = ["python3.11", "python3.12", "python3.13", "python3"];

/** llama.cpp is compiled for this very machine; its picture reader is not needed. */
const cmakeArguments = "-DGGML_NATIVE=ON -DLLAVA_BUILD=OFF";

/** Runs a program with its output shown on stderr; false when it failed. */
async function succeeds(command: readonly string[], env: Record<string, string> = {}): Promise<boolean> {
  try {
    const child = Bun.spawn([...command], { stdin: "ignore", stdout: 2, stderr: 2, env: { ...Bun.env, ...env } });
    return (await child.exited) === 0;
  } catch {
    return false;
  }
}

/** Whether an interpreter is 3.11 or newer and has the module that makes environments. */
const isUsable = (python: string) => {
  try {
    const look = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
    return Bun.spawnSync([python, "-c", look], { stdout: "ignore", stderr: "ignore" }).exitCode === 0;
  } catch {
    return false;
  }
};

/** Makes or completes the environment; gives undefined, or one line that says what is missing. A second call takes seconds. */
export async function setupPeers(): Promise<string | undefined> {
  const python = candidates.find(isUsable);
  if (python === undefined) {
    return "no Python 3.11 or newer with venv; install one (Debian, Ubuntu: apt-get install python3-venv), then run the command again";
  }
  if (!existsSync(peersPython) && !(await succeeds([python, "-m", "venv", folder]))) {
    return `${python} could not make ${folder} (above is why)`;
  }
  const env = {
    CMAKE_ARGS: [cmakeArguments, Bun.env.CMAKE_ARGS ?? ""].join(" ").trim(),
    // The bindings come as source alone; a wheel built for another machine would not be what this one can do.
    PIP_NO_BINARY: "llama-cpp-python",
    PIP_DISABLE_PIP_VERSION_CHECK: "1",
  };
  if (!(await succeeds([peersPython, "-m", "pip", "install", "--requirement", requirements], env))) {
    return "pip could not install the peers (above is why); a C++ compiler is needed (Debian, Ubuntu: apt-get install g++), 8 GB of disk, and the network";
  }
  const look = "import torch, transformers, trl, gguf, llama_cpp; llama_cpp.llama_backend_init()";
  if (!(await succeeds([peersPython, "-c", look]))) return `${peersPython} cannot import the peers (above is why)`;
  return undefined;
}
