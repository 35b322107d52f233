/** Processes of one machine that find each other: real servers, started, drained and killed. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import type { LogLine, MeshOptions } from "@inmesh/core";
import { createMesh, meshClient, meshServer, type HttpMesh, type MeshServer } from "@inmesh/http";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { folder } from "./support/folders.ts";
import { failureOf, sleep, until } from "./wire.ts";

const CHILD: string = join(import.meta.dirname, "children", "announces.ts");

function start(registry: string, ...args: readonly string[]): ChildProcess & { out: string } {
  const flags = ["--conditions=inmesh-source", "--no-warnings", CHILD];
  const child = spawn(process.execPath, [...flags, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, INMESH_REGISTRY: registry },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const started = Object.assign(child, { out: "" });
  child.stdout!.on("data", (chunk: Buffer) => (started.out += chunk.toString()));
  return started;
}

function meshIn(registry: string, more: MeshOptions = {}): HttpMesh & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const log = (line: LogLine): void => void lines.push(line);
  const mesh = Object.assign(createMesh({ env: {}, registry, log, ...more }), { lines });
  onTestFinished(() => mesh.close(0));
  return mesh;
}

const entries = (dir: string): string[] =>
  existsSync(dir) ? readdirSync(dir).filter((file) => file.endsWith(".json")) : [];
const draining = (mesh: HttpMesh): number =>
  mesh.snapshot().services[0]!.endpoints.filter((one) => one.draining).length;
const endpointsOf = (mesh: HttpMesh): number => mesh.snapshot().services[0]!.endpoints.length;

describe("a name that nothing configures", () => {
  it("is the server of another process; killed, it is gone, and the next is called within a second", async () => {
    const dir = join(folder(), "run");
    const mesh = meshIn(dir);
    const orders = meshClient("orders", { mesh });
    const error = await failureOf(orders.fetch("/"));
    expect(error).toMatchObject({ code: "no_endpoint", reason: "no_endpoints" });
    expect(error.message).toMatch(/no process of this machine announces it for http in .*\/run,/);

    const child = start(dir);
    await until(() => child.out !== "", 20_000);
    const listensAt = performance.now();
    let answer = "";
    while (answer === "") {
      // A call that fails at once leaves no turn for what it waits for.
      await sleep(2);
      answer = await orders.fetch("/").then(
        (reply) => reply.text(),
        () => "",
      );
    }
    expect(performance.now() - listensAt).toBeLessThan(1_000);
    expect(answer).toBe(String(child.pid));

    child.kill("SIGKILL");
    await once(child, "exit");
    const endedAt = performance.now();
    await until(() => endpointsOf(mesh) === 0);
    expect(performance.now() - endedAt).toBeLessThan(1_000);
    await until(() => readdirSync(dir).length === 0);
    const used = mesh.lines.filter(({ event }) => event === "registry.used");
    expect(used).toHaveLength(1);
    expect(used[0]).toMatchObject({ level: "info", service: "orders" });
  });

  it("P7: neither an announcement nor a client keeps a process alive, and a drain is announced first", async () => {
    const dir = join(folder(), "run");
    const server = start(dir);
    await until(() => entries(dir).length === 1, 20_000);
    const asking = start(dir, "cart", "orders");
    const [code] = await once(asking, "exit");
    expect(code).toBe(0);
    expect(asking.out).toBe(`answered by ${server.pid}\n`);

    const file = join(
      dir,
      entries(dir).find((one) => one.startsWith("orders"))!,
    );
    const { addresses } = JSON.parse(readFileSync(file, "utf8")) as { addresses: [string] };
    server.kill("SIGTERM");
    await until(() => readFileSync(file, "utf8").includes('"draining"'));
    // It still takes connections, for those who have not noticed.
    const [host, port] = addresses[0].split(":");
    await once(
      connect(Number(port), host).on("error", () => {}),
      "connect",
    );
    await once(server, "exit");
    expect(server.exitCode).toBe(0);
    expect(existsSync(file)).toBe(false);
  });

  it("D9 LC: the only server of a name is called while it drains, and another one instead of it", async () => {
    const mesh = meshIn(join(folder(), "run"));
    const started = async (text: string): Promise<MeshServer> => {
      const options = { name: "orders", mesh, discoveryWaitMs: 60_000 };
      const server = meshServer((_, response) => response.end(text), options);
      await server.listen(0, "127.0.0.1");
      onTestFinished(() => server.close(0));
      return server;
    };
    const first = await started("first");
    const orders = meshClient("orders", { mesh });
    const answer = async (): Promise<string> => (await orders.fetch("/")).text();
    await vi.waitFor(async () => expect(await answer()).toBe("first"));
    void first.drain(600_000);
    await until(() => draining(mesh) === 1);
    for (let i = 0; i < 20; i++) expect(await answer()).toBe("first");
    await started("second");
    await until(() => endpointsOf(mesh) === 2);
    for (let i = 0; i < 20; i++) expect(await answer()).toBe("second");
  });

  it("takes options, as others do, and belongs to what describes it for as long as something does", async () => {
    const dir = join(folder(), "run");
    const mesh = meshIn(dir);
    const announced = meshServer((_, response) => response.end("announced"), {
      name: "orders",
      mesh,
    });
    await announced.listen(0, "127.0.0.1");
    onTestFinished(() => announced.close(0));
    const other = createServer((_, response) => response.end("configured"));
    await once(other.listen(0, "127.0.0.1"), "listening");
    onTestFinished(() => void other.close());
    const { port } = other.address() as { port: number };

    const orders = meshClient("orders", { mesh, timeouts: { requestMs: 4_000 } });
    const answer = async (): Promise<string> => (await orders.fetch("/")).text();
    await vi.waitFor(async () => expect(await answer()).toBe("announced"));
    expect(mesh.config.current.services["orders"]!.timeouts.requestMs).toBe(4_000);
    mesh.update({ services: { orders: { url: `http://127.0.0.1:${port}` } } });
    await vi.waitFor(async () => expect(await answer()).toBe("configured"));
    mesh.update({});
    await vi.waitFor(async () => expect(await answer()).toBe("announced"));
    // One without options comes and goes with its configuration too.
    const plain = meshClient("cart", { mesh });
    expect(mesh.explain(["services", "cart", "discovery"])).toMatchObject({ rank: "default" });
    await failureOf(plain.fetch("/"));
  });

  it("is no URL: what names a host and a port goes there", async () => {
    const dir = join(folder(), "run");
    const mesh = meshIn(dir);
    const announced = meshServer((_, response) => response.end("announced"), {
      name: "localhost",
      mesh,
    });
    await announced.listen(0, "127.0.0.1");
    onTestFinished(() => announced.close(0));
    await until(() => entries(dir).length === 1);
    const error = await failureOf(
      meshClient("http://localhost:1", { mesh, retry: { attempts: 1 } }).fetch("/"),
    );
    expect(error.reason).toBe("connect_refused");
  });

  it("may be written: discovery: { registry } looks in the directory that it names", async () => {
    const dir = join(folder(), "run");
    const announcing = meshIn(dir);
    const announced = meshServer((_, response) => response.end("announced"), {
      name: "orders",
      mesh: announcing,
    });
    await announced.listen(0, "127.0.0.1");
    onTestFinished(() => announced.close(0));
    const config = { services: { orders: { discovery: { registry: dir } } } };
    const mesh = createMesh({ env: {}, registry: false, config });
    onTestFinished(() => mesh.close(0));
    await until(() => entries(dir).length === 1);
    expect(await (await meshClient("orders", { mesh }).fetch("/")).text()).toBe("announced");
    expect(() =>
      createMesh({ config: { services: { "a:1": { discovery: { registry: dir } } } } }),
    ).toThrow(/needs a service whose name has at most 120 letters/);
  });
});

describe("a server", () => {
  const listening = async (
    mesh: HttpMesh | undefined,
    name?: string,
    more: object = {},
  ): Promise<ReturnType<typeof meshServer>> => {
    const server = meshServer((_, response) => response.end("ok"), {
      ...(name !== undefined && { name }),
      ...(mesh !== undefined && { mesh }),
      ...more,
    });
    await server.listen(0, "127.0.0.1");
    onTestFinished(() => server.close(0));
    return server;
  };
  const lines = (mesh: { lines: LogLine[] }, event: string): string[] =>
    mesh.lines.filter((line) => line.event === event).map(({ message }) => message);

  it("is announced if it has a name, without one it is not", async () => {
    const dir = join(folder(), "run");
    const mesh = meshIn(dir);
    await listening(mesh);
    const named = await listening(mesh, "orders");
    await until(() => entries(dir).length > 0);
    expect(entries(dir)).toEqual([expect.stringMatching(/^orders~http~/)]);
    const port = named.address()!.port;
    expect(lines(mesh, "registry.announced")).toEqual([
      `orders: announced to processes of this machine, at 127.0.0.1:${port} in ${dir}`,
    ]);
    await named.close();
    expect(entries(dir)).toEqual([]);
    expect(readdirSync(dir)).toEqual([]);
  });

  it("is announced once more when it listens once more, at the address that it has then", async () => {
    const dir = join(folder(), "run");
    const mesh = meshIn(dir);
    const server = await listening(mesh, "orders");
    await until(() => entries(dir).length === 1);
    await server.close();
    const { port } = await server.listen(0, "127.0.0.1");
    await until(() => entries(dir).length === 1);
    expect(readFileSync(join(dir, entries(dir)[0]!), "utf8")).toContain(`"127.0.0.1:${port}"`);
  });

  it("is found at a Unix socket, and at 127.0.0.1 where it listens on all addresses", async () => {
    const dir = join(folder(), "run");
    const mesh = meshIn(dir);
    const onPath = meshServer((_, response) => response.end("path"), { name: "orders", mesh });
    await onPath.listen({ path: join(folder(), "orders.sock") });
    onTestFinished(() => onPath.close(0));
    const orders = meshClient("orders", { mesh });
    await vi.waitFor(async () => expect(await (await orders.fetch("/")).text()).toBe("path"));
    const onAll = meshServer((_, response) => response.end("all"), { name: "cart", mesh });
    const { port } = await onAll.listen(0);
    onTestFinished(() => onAll.close(0));
    const cart = meshClient("cart", { mesh });
    await vi.waitFor(async () => expect(await (await cart.fetch("/")).text()).toBe("all"));
    expect(mesh.snapshot().services.at(-1)!.endpoints[0]!.address).toBe(`127.0.0.1:${port}`);
  });

  it("with HTTP/2 alone is found by clients that speak it", async () => {
    const dir = join(folder(), "run");
    const mesh = meshIn(dir);
    await listening(mesh, "orders", { http2: true });
    const orders = meshClient("orders", { mesh, http2: true });
    await vi.waitFor(async () => expect((await orders.fetch("/")).status).toBe(200));
    await listening(mesh, "cart", { http2: true });
    const error = await failureOf(meshClient("cart", { mesh }).fetch("/"));
    expect(error.message).toMatch(/announces it|speaks HTTP\/2 alone: write http2: true/);
  });

  it("serves on where it cannot be announced, and says so once", async () => {
    const mesh = meshIn("/proc/inmesh/run");
    const server = await listening(mesh, "orders");
    await until(() => lines(mesh, "registry.failed").length === 1);
    expect(lines(mesh, "registry.failed")[0]).toMatch(
      /^orders: not announced to processes of this machine: \/proc\/inmesh\/run cannot be made \(/,
    );
    const reply = await fetch(`http://127.0.0.1:${server.address()!.port}/`);
    expect(await reply.text()).toBe("ok");
    const unfit = await listening(mesh, "orders of the shop");
    await until(() => lines(mesh, "registry.failed").length === 2);
    expect(lines(mesh, "registry.failed")[1]).toMatch(/^orders of the shop: .*at most 120 letters/);
    await unfit.close();
  });

  it("of a test run, as this one, is not announced: NODE_ENV is test", async () => {
    expect(process.env["NODE_ENV"]).toBe("test");
    const mesh = Object.assign(createMesh({ env: {} }), { lines: [] });
    onTestFinished(() => mesh.close(0));
    expect(mesh.registry).toEqual({ off: "NODE_ENV=test" });
    expect(() => meshClient("orders", { mesh })).toThrow(/registry of this machine is off here/);
  });
});
