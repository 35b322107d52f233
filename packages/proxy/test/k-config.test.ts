/** Section K of the fault matrix, mesh-proxy: a configuration that is away, wrong or only half there does not touch its clients. */
import {
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { createMesh, type Mesh } from "@inmesh/core";
import { describe, expect, it, onTestFinished } from "vitest";
import { folder } from "../../http/test/support/folders.ts";
import { ask2, client2, origin2 } from "./support/http2.ts";
import { proxyOver } from "./support/proxied.ts";

/** Answers with its name, and with the authority that it was asked by. */
async function named(name: string): Promise<string> {
  const { address } = await origin2((stream, headers) => {
    stream.resume();
    stream.respond({ ":status": 200 });
    stream.end(`${name} ${headers[":authority"]}`);
  });
  return address;
}

const configOf = (address: string, authority: string): object => ({
  services: { orders: { http2: true, discovery: { static: [address] }, authority } },
});

/** As editors and kubelets write: the whole file at once. */
function replace(file: string, text: string): void {
  writeFileSync(`${file}.new`, text);
  renameSync(`${file}.new`, file);
}

async function before(mesh: Mesh): Promise<{ readonly mesh: Mesh; ask(): Promise<string> }> {
  onTestFinished(() => mesh.close(0));
  const { port } = await proxyOver(mesh, { spoken: "http2" });
  const session = client2(port);
  const ask = async (): Promise<string> => {
    const { headers, body } = await ask2(session, { ":method": "POST" }, "x");
    return `${headers[":status"]} ${String(body).trim()}`;
  };
  return { mesh, ask };
}

const stateOf = (mesh: Mesh): string => mesh.snapshot().config.state;

it("K1 P22: a start without the file serves what was good last, and follows the file again", async () => {
  const dir = folder();
  const configFile = join(dir, "mesh.json");
  const snapshotFile = join(dir, "last-good.json");
  const [a, b] = [await named("a"), await named("b")];
  replace(configFile, JSON.stringify(configOf(a, "first")));
  await createMesh({ env: {}, configFile, snapshotFile }).close();
  rmSync(configFile);
  const { mesh, ask } = await before(createMesh({ env: {}, configFile, snapshotFile }));
  expect(await ask()).toBe("200 a first");
  expect(stateOf(mesh)).toBe("refused");
  replace(configFile, JSON.stringify(configOf(b, "second")));
  await expect.poll(() => stateOf(mesh)).toBe("current");
  expect(await ask()).toBe("200 b second");
});

it("K4 P22: updates that come one after the other, again, and late: no request sees half of one, and none fails", async () => {
  const addresses = [await named("a"), await named("b")] as const;
  const config = (n: number): object =>
    configOf(addresses[n % 2 === 0 ? 0 : 1], n % 2 === 0 ? "a" : "b");
  const { mesh, ask } = await before(createMesh({ env: {}, config: config(0) as never }));
  const seen: Promise<string>[] = [];
  for (let n = 1; n <= 40; n++) {
    seen.push(ask(), ask());
    await new Promise((resolve) => setTimeout(resolve, 2));
    mesh.update(config(n) as never);
    seen.push(ask());
    if (n % 5 === 0) mesh.update(config(n) as never); // the same once more
    if (n % 7 === 0) mesh.update(config(n - 1) as never); // and the one before
    // Part of a change is none: it is refused as a whole.
    if (n % 11 === 0) {
      const half = { services: { orders: { authority: "half", discovery: { static: ["no"] } } } };
      expect(() => mesh.update(half as never)).toThrow(/discovery/);
    }
  }
  const all = new Set(await Promise.all(seen));
  expect([...all].toSorted()).toEqual(["200 a a", "200 b b"]);
});

describe("a file that the proxy follows", () => {
  it("K8 P22: empty, cut off, gone, or garbage: what was good stays, and a good one is taken", async () => {
    const configFile = join(folder(), "mesh.json");
    const [a, b] = [await named("a"), await named("b")];
    const first = JSON.stringify(configOf(a, "first"));
    replace(configFile, first);
    const { mesh, ask } = await before(createMesh({ env: {}, configFile }));
    expect(await ask()).toBe("200 a first");
    const ways: readonly (readonly [string, () => void])[] = [
      ["empty", () => truncateSync(configFile, 0)],
      ["cut off", () => writeFileSync(configFile, first.slice(0, first.length / 2))],
      ["gone", () => unlinkSync(configFile)],
      ["garbage", () => replace(configFile, "\0\0garbage")],
      ["of another shape", () => replace(configFile, JSON.stringify({ services: [] }))],
    ];
    for (const [name, act] of ways) {
      act();
      await expect.poll(() => stateOf(mesh), { message: name }).toBe("refused");
      expect(await ask(), name).toBe("200 a first");
      replace(configFile, first);
      await expect.poll(() => stateOf(mesh), { message: name }).toBe("current");
    }
    replace(configFile, JSON.stringify(configOf(b, "second")));
    await expect.poll(ask).toBe("200 b second");
  });

  it("K8 P22: in a folder that a kubelet swaps by its link", async () => {
    const dir = folder();
    const [a, b] = [await named("a"), await named("b")];
    const swap = (version: string, config: object): void => {
      mkdirSync(join(dir, version));
      writeFileSync(join(dir, version, "mesh.json"), JSON.stringify(config));
      symlinkSync(version, join(dir, "..data_tmp"));
      renameSync(join(dir, "..data_tmp"), join(dir, "..data"));
    };
    swap("..1", configOf(a, "first"));
    symlinkSync("..data/mesh.json", join(dir, "mesh.json"));
    const { ask } = await before(createMesh({ env: {}, configFile: join(dir, "mesh.json") }));
    expect(await ask()).toBe("200 a first");
    swap("..2", configOf(b, "second"));
    rmSync(join(dir, "..1"), { recursive: true });
    await expect.poll(ask).toBe("200 b second");
  });
});
