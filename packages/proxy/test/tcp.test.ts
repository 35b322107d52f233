/** The TCP mode on real sockets: balancing, half-close, back-pressure, limits and ends, with the mesh of core behind it. */
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createMesh, type Mesh, type MeshInput } from "@inmesh/core";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { startBlackHole } from "../../http/test/support/children.ts";
import { Defects } from "../src/defects.ts";
import { Listener, type ListenerOptions, type ListenReason } from "../src/listen/listener.ts";
import { readHeader } from "../src/listen/proxy-protocol.ts";
import { TcpFront, type TcpFrontParts, type TcpReason } from "../src/tcp/front.ts";
import { TCP } from "../src/tcp/protocol.ts";
import { Tunnel } from "../src/tcp/tunnel.ts";
import { Client, listening } from "./support/net.ts";
import { freePort } from "../../../scripts/free-port.ts";

interface Bench {
  readonly mesh: Mesh;
  readonly address: string;
  readonly listener: Listener;
  readonly counted: (ListenReason | TcpReason)[];
  readonly front: TcpFront;
}

async function bench(
  config: MeshInput,
  options: Partial<ListenerOptions> = {},
  front: Partial<TcpFrontParts> = {},
  maxConnections = 1_000,
): Promise<Bench> {
  const mesh = createMesh({ config, env: {} });
  onTestFinished(() => mesh.close(0));
  const counted: (ListenReason | TcpReason)[] = [];
  const count = (reason: ListenReason | TcpReason): void => void counted.push(reason);
  const { runtime } = mesh;
  const tcp = new TcpFront({
    runtime,
    serviceOf: () => mesh.service("db", TCP),
    connections: mesh.connections.of("inbound", "db", "tcp"),
    announces: undefined,
    idleTimeoutMs: Infinity,
    count,
    ...front,
  });
  const listener = new Listener(
    {
      address: { host: "127.0.0.1", port: 0 },
      protocol: "tcp",
      detectTimeoutMs: 200,
      proxyProtocol: false,
      reusePort: false,
      socketMode: 0o660,
      maxConnectionsPerAddress: Infinity,
      ...options,
    },
    { tcp, tls: tcp, http1: tcp, http2: tcp },
    {
      runtime,
      limits: { maxConnections },
      count,
    },
  );
  await listener.listen();
  onTestFinished(() => listener.destroy());
  return { mesh, address: listener.text, listener, counted, front: tcp };
}

function endpointsOf(...addresses: string[]): MeshInput {
  return { services: { db: { discovery: { static: addresses } } } };
}

/** What a series of the mesh counts, over all of its labels that fit. */
function counter(mesh: Mesh, name: string, labels: Readonly<Record<string, string>> = {}): number {
  let sum = 0;
  for (const series of mesh.metrics()) {
    if (series.name !== name || !("value" in series)) continue;
    const fits = Object.entries(labels).every(([key, value]) => series.labels[key] === value);
    if (fits) sum += series.value as number;
  }
  return sum;
}

describe("a connection through the TCP mode", () => {
  it("carries bytes both ways and keeps half-close in both directions", async () => {
    const server = await listening((socket) => {
      // It answers when the client has ended, as a checksum over the wire does.
      const hash = createHash("sha256");
      socket.on("data", (chunk) => hash.update(chunk));
      socket.on("end", () => socket.end(hash.digest("hex")));
    });
    const { address, mesh, counted } = await bench(endpointsOf(server.address));
    const body = randomBytes(3_000_000);
    const client = new Client(address);
    client.send(body).end();
    await client.until(() => client.ended, "the end of the server");
    expect(client.text).toBe(createHash("sha256").update(body).digest("hex"));
    await client.until(() => client.closed);
    expect(client.error).toBeUndefined();
    await expect
      .poll(
        () => mesh.snapshot().services.find(({ name }) => name === "db")?.endpoints[0]?.inFlight,
      )
      .toBe(0);
    expect(counted).toEqual([]);
  });

  it("lets the server end first, and the client go on", async () => {
    const heard: Buffer[] = [];
    const server = await listening((socket) => {
      socket.end("goodbye");
      socket.on("data", (chunk) => heard.push(chunk));
    });
    const { address } = await bench(endpointsOf(server.address));
    const client = new Client(address);
    await client.until(() => client.ended);
    client.send("still here").end();
    await client.until(() => client.closed);
    await expect.poll(() => Buffer.concat(heard).toString()).toBe("still here");
    expect(client.text).toBe("goodbye");
    expect(client.error).toBeUndefined();
  });

  it("C1 PT: goes to another endpoint while nothing was sent, and opens the breaker of one that refuses", async () => {
    const server = await listening((socket) => socket.end("good"));
    const dead = await freePort();
    const { address, mesh } = await bench(endpointsOf(`127.0.0.1:${dead}`, server.address));
    for (let i = 0; i < 10; i++) {
      const client = new Client(address);
      await client.until(() => client.ended);
      expect(client.text).toBe("good");
    }
    const { endpoints } = mesh.snapshot().services.find(({ name }) => name === "db")!;
    expect(endpoints.find((one) => one.address === `127.0.0.1:${dead}`)?.breaker.state).toBe(
      "open",
    );
  });

  it("C2 PT: goes to another endpoint where packets are dropped, at the connect timeout", async () => {
    await using hole = await startBlackHole();
    const server = await listening((socket) => socket.end("good"));
    const { address } = await bench({
      services: {
        db: {
          discovery: { static: [`127.0.0.1:${hole.port}`, server.address] },
          timeouts: { connect: "150ms" },
          balancer: { kind: "round-robin" },
        },
      },
    });
    for (let i = 0; i < 4; i++) {
      const client = new Client(address);
      await client.until(() => client.ended);
      expect(client.text).toBe("good");
    }
  });

  it("an error of the proxy's own ends that connection, is counted, and leaves none to the endpoint", async () => {
    const server = await listening((socket) => socket.write("hello"));
    const { address, mesh } = await bench(endpointsOf(server.address));
    Defects.of(mesh.runtime).reportTo(mesh);
    const other = new Client(address);
    await other.until(() => other.text === "hello");
    const run = vi.spyOn(Tunnel.prototype, "run").mockImplementationOnce(() => {
      throw new TypeError("defect of a tunnel");
    });
    onTestFinished(() => run.mockRestore());
    const broken = new Client(address);
    await broken.until(() => broken.closed);
    expect(counter(mesh, "inmesh.defects")).toBe(1);
    await expect.poll(() => server.sockets.size).toBe(1);
    await expect.poll(() => mesh.snapshot().services[0]?.endpoints[0]?.inFlight).toBe(1);
    expect(other.closed).toBe(false);
  });

  it.each<[string, object, string, (client: Client) => void]>([
    ["at its clock", Tunnel.prototype, "look", () => {}],
    [
      "when a reader is slow",
      Socket.prototype,
      "pause",
      (client) => void client.send(Buffer.alloc(8_000_000)),
    ],
  ])(
    "an error of the proxy's own %s ends both sides of that tunnel",
    async (_, owner, part, act) => {
      const server = await listening((socket) => socket.pause().write("hello"));
      const front = { idleTimeoutMs: 400 };
      const { address, mesh } = await bench(endpointsOf(server.address), {}, front);
      Defects.of(mesh.runtime).reportTo(mesh);
      const broken = new Client(address);
      await broken.until(() => broken.text === "hello");
      const spy = vi.spyOn(owner as Record<string, () => void>, part).mockImplementationOnce(() => {
        throw new TypeError(`defect of ${part}`);
      });
      onTestFinished(() => spy.mockRestore());
      act(broken);
      await broken.until(() => broken.closed || broken.ended);
      expect(counter(mesh, "inmesh.defects")).toBe(1);
      await expect.poll(() => mesh.snapshot().services[0]?.endpoints[0]?.inFlight).toBe(0);
      const next = new Client(address);
      await next.until(() => next.text === "hello");
    },
  );

  it("C1 PT: resets the client where no endpoint accepts, and counts it", async () => {
    const dead = await freePort();
    const { address, counted } = await bench(endpointsOf(`127.0.0.1:${dead}`));
    const client = new Client(address);
    await client.until(() => client.closed);
    expect(client.error?.code).toBe("ECONNRESET");
    expect(counted).toEqual(["no_endpoint"]);
  });

  it("passes a reset on as a reset, whichever side it comes from", async () => {
    let seen: NodeJS.ErrnoException | undefined;
    const server = await listening((socket) => {
      socket.on("error", (error) => (seen = error));
      socket.on("data", (chunk) => {
        if (chunk.toString() === "break") socket.resetAndDestroy();
        else socket.write("ok");
      });
    });
    const { address } = await bench(endpointsOf(server.address));
    const broken = new Client(address).send("break");
    await broken.until(() => broken.closed);
    expect(broken.error?.code).toBe("ECONNRESET");
    const breaking = new Client(address).send("hello");
    await breaking.until(() => breaking.text === "ok");
    breaking.socket.resetAndDestroy();
    await expect.poll(() => seen?.code).toBe("ECONNRESET");
  });

  it("holds a fast writer back for a slow reader", async () => {
    let paused = true;
    const server = await listening((socket) => {
      socket.pause();
      const timer = setInterval(() => {
        if (paused) return;
        socket.resume();
        clearInterval(timer);
      }, 20);
      socket.on("end", () => socket.end());
    });
    const { address, listener } = await bench(endpointsOf(server.address));
    const client = new Client(address);
    const size = 64 * 1_048_576;
    client.send(Buffer.alloc(size));
    await expect.poll(() => listener.size).toBe(1);
    let before = -1;
    // It stops by itself when the buffers of the kernel are full.
    await expect
      .poll(
        () => {
          const now = size - client.socket.writableLength;
          const same = now === before;
          before = now;
          return same && client.socket.bytesWritten > 0;
        },
        { interval: 200 },
      )
      .toBe(true);
    expect(client.socket.writableLength).toBeGreaterThan(size / 2);
    paused = false;
    client.end();
    await client.until(() => client.ended, "the rest of the bytes");
  }, 20_000);

  it("ends after its idle limit, and not while anything moves", async () => {
    const server = await listening((socket) => socket.on("data", (chunk) => socket.write(chunk)));
    const idle = { idleTimeoutMs: 300 };
    const { address, counted } = await bench(endpointsOf(server.address), {}, idle);
    const client = new Client(address);
    const startedAt = performance.now();
    for (let i = 1; i <= 6; i++) {
      client.send(".");
      await client.until(() => client.received.length === i);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(client.closed).toBe(false);
    await client.until(() => client.ended);
    expect(performance.now() - startedAt).toBeGreaterThan(800);
    await expect.poll(() => counted).toEqual(["tunnel_idle"]);
  });

  it("C18 PT: goes to a Unix socket, from one, and over IPv6", async () => {
    const folder = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const server = await listening((socket) => socket.end("unix"), {
      path: join(folder, "db.sock"),
    });
    const six = await listening((socket) => socket.end("six"), { host: "::1" });
    const one = await bench(endpointsOf(server.address), {
      address: { path: join(folder, "in.sock") },
    });
    const two = await bench(endpointsOf(six.address), { address: { host: "::1", port: 0 } });
    for (const [{ address }, text] of [
      [one, "unix"],
      [two, "six"],
    ] as const) {
      const client = new Client(address);
      await client.until(() => client.ended);
      expect(client.text).toBe(text);
    }
  });

  it("is counted: connections, bytes and calls", async () => {
    const server = await listening((socket) => socket.on("data", () => socket.end("12345")));
    const { address, mesh } = await bench(endpointsOf(server.address));
    const client = new Client(address).send("1234567");
    await client.until(() => client.ended);
    client.end();
    await client.until(() => client.closed);
    const io = { direction: "outbound", protocol: "tcp", service: "db" };
    await expect.poll(() => counter(mesh, "inmesh.io", { ...io, op: "sent" })).toBe(7);
    expect(counter(mesh, "inmesh.io", { ...io, op: "received" })).toBe(5);
    await expect
      .poll(() => counter(mesh, "inmesh.connection.closed", { direction: "outbound" }))
      .toBe(1);
  });
});

describe("a listener", () => {
  it("passes on what the PROXY protocol says, and refuses a connection without it", async () => {
    const heads: Buffer[] = [];
    const server = await listening((socket) => {
      socket.on("data", (chunk) => {
        heads.push(chunk);
        if (chunk.includes("hello")) socket.end("ok");
      });
    });
    const both = await bench(
      endpointsOf(server.address),
      { proxyProtocol: true },
      { announces: "v2" },
    );
    const client = new Client(both.address);
    for (const piece of ["PROXY TCP4 192.0.2.7 ", "198.51.100.1 4711 443\r\n", "hello"]) {
      client.send(piece);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await client.until(() => client.text === "ok");
    const all = Buffer.concat(heads);
    const read = readHeader(all);
    expect(read).toMatchObject({
      client: { address: "192.0.2.7", port: 4711 },
      target: { address: "198.51.100.1", port: 443 },
    });
    expect(all.subarray((read as { length: number }).length).toString()).toBe("hello");
    const without = new Client(both.address).send("GET / HTTP/1.1\r\n\r\n");
    await without.until(() => without.ended);
    const silent = new Client(both.address);
    await silent.until(() => silent.ended);
    expect(both.counted).toEqual(["proxy_header", "proxy_header_timeout"]);
  });

  it("waits no longer than its limit for a client that waits for the server", async () => {
    const server = await listening((socket) => socket.write("220 ready\r\n"));
    const { address } = await bench(endpointsOf(server.address), { protocol: undefined });
    const client = new Client(address);
    await client.until(() => client.text === "220 ready\r\n");
  });

  it("refuses connections above its limits, and accepts again below them", async () => {
    const server = await listening((socket) => socket.write("hi"));
    const { address, counted, listener } = await bench(endpointsOf(server.address), {}, {}, 2);
    const first = new Client(address);
    const second = new Client(address);
    await first.until(() => first.text === "hi");
    await second.until(() => second.text === "hi");
    const third = new Client(address);
    await third.until(() => third.closed);
    expect(counted).toEqual(["connections"]);
    first.socket.resetAndDestroy();
    await expect.poll(() => listener.size).toBe(1);
    const fourth = new Client(address);
    await fourth.until(() => fourth.text === "hi");
  });

  it("refuses connections above the limit of one address", async () => {
    const server = await listening((socket) => socket.write("hi"));
    const { address, counted } = await bench(endpointsOf(server.address), {
      maxConnectionsPerAddress: 1,
    });
    const first = new Client(address);
    await first.until(() => first.text === "hi");
    const second = new Client(address);
    await second.until(() => second.closed);
    expect(counted).toEqual(["connections_per_address"]);
  });

  it("says what to do where an address is in use, or none of this machine", async () => {
    const server = await listening(() => {});
    const inUse = bench(endpointsOf(server.address), {
      address: { host: "127.0.0.1", port: server.port },
    });
    await expect(inUse).rejects.toMatchObject({ code: "EADDRINUSE", kind: "taken" });
    const foreign = bench(endpointsOf(server.address), {
      address: { host: "192.0.2.1", port: 0 },
    });
    await expect(foreign).rejects.toMatchObject({ code: "EADDRNOTAVAIL", kind: "failed" });
  });
});
