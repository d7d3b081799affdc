// Things outside the sandbox that no attack may reach: a secret in files, environment and descriptors, servers that count
// who connects, a process that must stay alive.
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, hostname, networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";

/** Where programs that can write anywhere leave things. */
const usualFolders = ["/tmp", "/dev/shm", "/var/tmp", "/run", "/run/lock", "/", "/home", "/root"];
const repository = join(import.meta.dir, "..", "..", "..", "..", "..");

export type Canaries = {
  /** A folder that every user can read. */
  readonly folder: string;
  /** All that are made for the attacks, that one among them. */
  readonly folders: readonly string[];
  readonly secret: string;
  /** What attacks are told, apart from process ids. */
  readonly given: Readonly<Record<string, unknown>>;
  /** Connections and datagrams that came. */
  readonly visits: () => number;
  /** Marks of attacks that lie on the host. */
  readonly marks: (mark: string) => string[];
  readonly close: () => void;
};

/** Sets everything up. */
export async function openCanaries(): Promise<Canaries> {
  const folder = mkdtempSync(join(tmpdir(), "gradus-attacks-"));
  chmodSync(folder, 0o755);
  const needle = `canary-${randomBytes(6).toString("hex")}`;
  const secret = `${needle}-${randomBytes(12).toString("hex")}`;
  const inRepository = join(repository, "build", `attack-canary-${process.pid}`);
  mkdirSync(inRepository, { recursive: true });
  const secretFiles = [join(folder, "secret.txt"), join(inRepository, "expected_output.txt")];
  for (const path of secretFiles) writeFileSync(path, `${secret}\n`, { mode: 0o644 });

  const servers = await openServers(join(folder, "server.sock"), `gradus-${needle}`);
  const folders = [folder, inRepository, tmpdir(), process.cwd()];
  const writable = new Set([...folders, ...usualFolders, homedir(), repository]);
  return {
    folder,
    folders: [folder, inRepository],
    secret,
    given: {
      needle,
      secretFile: secretFiles[0],
      secretFiles,
      folders,
      home: homedir(),
      repository,
      passwdDigest: existsSync("/etc/passwd")
        ? createHash("sha256").update(readFileSync("/etc/passwd")).digest("hex")
        : null,
      hostName: hostname(),
      hostAddress: hostAddress(),
      ...servers.given,
    },
    visits: servers.visits,
    marks: (mark) =>
      [...writable].flatMap((place) =>
        namesIn(place)
          .filter((name) => name.includes(mark))
          .map((name) => join(place, name)),
      ),
    close: () => {
      servers.close();
      rmSync(folder, { recursive: true, force: true });
      rmSync(inRepository, { recursive: true, force: true });
    },
  };
}

/** Servers of every kind that a program could reach; each counts who comes. */
async function openServers(unixPath: string, abstractName: string) {
  let visits = 0;
  const count = () => {
    visits++;
  };
  const socket = { open: count, data: () => undefined };
  const tcp = Bun.listen({ hostname: "0.0.0.0", port: 0, socket });
  const unix = Bun.listen({ unix: unixPath, socket });
  chmodSync(unixPath, 0o777);
  const abstract = Bun.listen({ unix: `\0${abstractName}`, socket });
  const udp = await Bun.udpSocket({ socket: { data: count } });
  return {
    given: { tcpPort: tcp.port, udpPort: udp.port, unixPath, abstractName },
    visits: () => visits,
    close: () => {
      for (const server of [tcp, unix, abstract]) server.stop(true);
      udp.close();
    },
  };
}

/** A folder's entries; none where it may not be read, since an attack has no more rights than this process. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** An address of this machine that is not its loopback, where it has one. */
function hostAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.find(({ internal, family }) => !internal && family === "IPv4")?.address ?? "127.0.0.1";
}
