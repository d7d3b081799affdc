import { expect, test } from "bun:test";
import { hostMounts, tracesOf } from "./host-mounts.ts";

const host = [
  "22 27 0:21 / /proc rw,relatime shared:5 - proc proc rw",
  "24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw",
  "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw",
  "40 27 0:50 / /run/user/7 rw,nosuid - tmpfs tmpfs rw",
];
const tmpfs = (at: string) => `90 27 0:60 / ${at} rw,nosuid,nodev,relatime - tmpfs tmpfs rw,size=1024k`;
/** What is said of a host that has these lines after it had those above. */
const said = (lines: readonly string[]) =>
  tracesOf(hostMounts(host.join("\n")), hostMounts(`${lines.join("\n")}\n`), ["/srv/canaries"]);

test("what the sandbox mounts is told wherever it comes to light", () => {
  for (const at of [
    "/tmp",
    "/tmp/new",
    "/tmp/new/usr/lib",
    "/tmp/old",
    "/box/run",
    "/new/dev/null",
    "/srv/canaries/m",
  ]) {
    expect(said([...host, tmpfs(at)])).toEqual([`there is now: ${tmpfs(at)}`]);
  }
});

test("a wall on a mount of the host is told, and so is a root that was taken away", () => {
  const walled = "24 27 0:6 / /dev ro,relatime - devtmpfs devtmpfs rw";
  expect(said(host.with(1, walled))).toEqual([`there is now: ${walled}`]);
  expect(said(host.slice(1))).toEqual([`there is no more: ${host[0]}`]);
});

test("what others mount, unmount and share meanwhile is not", () => {
  const others = [
    "/run/user/1000",
    "/snap/core/1",
    "/var/lib/docker/overlay2/x/merged",
    "/tmp/.mount_App",
    "/srv/canary",
  ];
  expect(said([...host.slice(0, 3), ...others.map(tmpfs)])).toEqual([]);
  expect(said(host.with(1, "24 27 0:6 / /dev rw,relatime shared:9 - devtmpfs devtmpfs rw"))).toEqual([]);
});
