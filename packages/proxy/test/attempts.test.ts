/** What becomes of attempts through the proxy: the same classes, outcomes and words as in the library. */
import { createServer, type Server } from "node:http";
import { createServer as createTcpServer, type Socket } from "node:net";
import type { MeshOptions } from "@inmesh/core";
import { staticDiscovery } from "@inmesh/core/spi";
import { describe, expect, it, onTestFinished } from "vitest";
import { exchangeRaw, listening, proxied, repliesIn, type RawReply } from "./support/proxied.ts";

/** What a server does with each request that reaches it. */
type Behaviour = (socket: Socket, request: string) => void;

async function endpoint(
  behave: Behaviour,
): Promise<{ address: string; requests: string[]; close: () => void }> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    let text = "";
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) return;
      const length = Number(/content-length: (\d+)/.exec(text)?.[1] ?? 0);
      const isWhole = /transfer-encoding/.test(text)
        ? text.endsWith("0\r\n\r\n")
        : text.length >= end + 4 + length;
      if (!isWhole) return;
      const request = text;
      text = "";
      requests.push(request);
      behave(socket, request);
    });
  });
  const port = await listening(server);
  const close = (): void => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  onTestFinished(close);
  return { address: `127.0.0.1:${port}`, requests, close };
}
const answers =
  (text: string, status = "200 OK", fields = ""): Behaviour =>
  (socket) =>
    void socket.write(
      `HTTP/1.1 ${status}\r\n${fields}content-length: ${text.length}\r\n\r\n${text}`,
    );
const resets: Behaviour = (socket) => socket.resetAndDestroy();

async function free(): Promise<string> {
  const server: Server = createServer();
  const port = await listening(server);
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

async function ask(port: number, method = "GET", fields = "", body = ""): Promise<RawReply> {
  const length = body === "" ? "" : `Content-Length: ${body.length}\r\n`;
  const { text } = await exchangeRaw(
    port,
    `${method} / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n${fields}${length}\r\n${body}`,
  );
  return repliesIn(text)[0]!;
}

const quick = { retry: { attempts: 2, backoff: "1ms", maxBackoff: "2ms" } };

describe("retries", () => {
  it("C1 P11 R0: no connection, any method: another endpoint gets it", async () => {
    const good = await endpoint(answers("good"));
    const { port, mesh } = await proxied({
      orders: {
        discovery: { static: [await free(), good.address] },
        ...quick,
        // So that the one that is not there is asked.
        balancer: { kind: "round-robin" },
      },
    });
    for (let i = 0; i < 6; i++) {
      expect(await ask(port, "POST", "", "body")).toMatchObject({ status: 200, body: "good" });
    }
    expect(good.requests.every((one) => one.endsWith("\r\n\r\nbody"))).toBe(true);
    const { endpoints } = mesh.snapshot().services[0]!;
    expect(endpoints.map(({ breaker }) => breaker.state).sort()).toEqual(["closed", "open"]);
  });

  it.each([
    ["GET", "", 200],
    ["PUT", "a body that is sent again", 200],
    ["POST", "a body that is not", 502],
  ])("C4 P11 R1 R2: a reset before the reply, %s", async (method, body, status) => {
    const bad = await endpoint(resets);
    const good = await endpoint(answers("good"));
    const { port, mesh } = await proxied({
      orders: {
        discovery: { static: [bad.address, good.address] },
        ...quick,
        balancer: { kind: "round-robin" },
      },
    });
    const attempts: unknown[] = [];
    mesh.observe({ callEnded: (call) => void attempts.push(call.attempts) });
    const statuses: number[] = [];
    for (let i = 0; i < 2; i++) statuses.push((await ask(port, method, "", body)).status);
    expect(statuses.sort()).toEqual([200, status]);
    expect(good.requests.every((one) => one.endsWith(body))).toBe(true);
    if (status === 200) expect(attempts).toContain(2);
  });

  it("H18 P11: a body that came in pieces is sent again from its start, and one above what is kept is not", async () => {
    const bad = await endpoint(resets);
    const good = await endpoint((socket, request) =>
      answers(String(request.split("\r\n\r\n")[1]!.length))(socket, request),
    );
    const { port } = await proxied({
      orders: {
        discovery: { static: [bad.address, good.address] },
        ...quick,
        balancer: { kind: "round-robin" },
      },
    });
    const put = async (bytes: number): Promise<number> => {
      const { connect } = await import("node:net");
      const socket = connect({ port, host: "127.0.0.1" });
      socket.on("error", () => {});
      let text = "";
      socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
      socket.write(
        `PUT / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\nContent-Length: ${bytes}\r\n\r\n`,
      );
      for (let sent = 0; sent < bytes; sent += bytes / 4) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        socket.write("x".repeat(bytes / 4));
      }
      await expect.poll(() => repliesIn(text).length).toBe(1);
      socket.destroy();
      return repliesIn(text)[0]!.status;
    };
    expect([await put(40_000), await put(40_000)]).toEqual([200, 200]);
    expect([await put(400_000), await put(400_000)].sort()).toEqual([200, 502]);
  });

  it("a status that the route lists is tried elsewhere, once, within the budget of the mesh", async () => {
    const busy = await endpoint(answers("busy", "503 Service Unavailable"));
    const good = await endpoint(answers("good"));
    const { port, mesh } = await proxied({
      orders: {
        discovery: { static: [busy.address, good.address] },
        ...quick,
        balancer: { kind: "round-robin" },
      },
    });
    const replies = [await ask(port), await ask(port)];
    expect(replies.map(({ body }) => body)).toEqual(["good", "good"]);
    expect(mesh.metrics().find(({ name }) => name === "inmesh.attempts")).toBeDefined();
  });

  it("one layer retries: what is a retry above is sent once, and what this hop has tried says so", async () => {
    const bad = await endpoint(resets);
    const { port } = await proxied(
      { orders: { discovery: { static: [bad.address] }, ...quick } },
      { listener: { posture: "mesh" } },
    );
    expect((await ask(port, "GET", "X-Mesh-Attempt: 2\r\n")).head).toContain(
      "x-mesh-error: reset_before_response",
    );
    expect(bad.requests).toHaveLength(1);
    expect(bad.requests[0]).toContain("x-mesh-attempt: 2");
    const { head } = await ask(port);
    expect(head).toContain("x-mesh-final: 1");
  });
});

describe("what has no reply", () => {
  it("C1 P11, C7 P11: no endpoint 503, no service 404, deadline 504, no connection 502, each with its reason", async () => {
    const silent = await endpoint(() => {});
    const none = { discovery: { dns: "none.invalid", port: 80 } };
    const discovery: MeshOptions["discovery"] = ({ name }) =>
      name === "none" ? staticDiscovery([]) : undefined;
    const { port } = await proxied(
      {
        none,
        slow: {
          discovery: { static: [silent.address] },
          timeouts: { request: "50ms" },
          retry: { attempts: 1 },
        },
        gone: { discovery: { static: [await free()] }, retry: { attempts: 1 } },
      },
      { mesh: { discovery } },
    );
    const get = async (host: string): Promise<string> => {
      const { text } = await exchangeRaw(
        port,
        `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      );
      const [{ status, body }] = repliesIn(text) as [RawReply];
      return `${status} ${body.trim()}`;
    };
    expect(await get("none")).toBe("503 no_endpoints");
    expect(await get("unknown")).toMatch(/^404 no_route\n/);
    expect(await get("slow")).toBe("504 call_deadline");
    expect(await get("gone")).toMatch(/^502 connect_refused|^503 all_open/);
  });

  it("C1 P11: a request without a service says which ones there are, to who gets reasons", async () => {
    const ask404 = async (names: readonly string[], posture: "local" | "edge"): Promise<string> => {
      const { port } = await proxied(
        Object.fromEntries(names.map((name) => [name, ["127.0.0.1:9"]])),
        { listener: { posture } },
      );
      const { text } = await exchangeRaw(
        port,
        "GET / HTTP/1.1\r\nHost: nothing\r\nConnection: close\r\n\r\n",
      );
      const [{ status, head, body }] = repliesIn(text) as [RawReply];
      expect(status).toBe(404);
      expect(head.includes("x-mesh-error: no_route")).toBe(posture === "local");
      return body;
    };
    const few =
      "no_route\nA request names its service by Host or :authority. Services of this listener: ";
    expect(await ask404(["orders", "users"], "local")).toBe(`${few}orders, users.\n`);
    expect(await ask404([], "local")).toBe(`${few}none.\n`);
    const many = Array.from({ length: 30 }, (_, i) => `s${i}`);
    const ten = many.slice(0, 10).join(", ");
    expect(await ask404(many, "local")).toBe(`${few}${ten} and 20 more.\n`);
    // A listener that any host can reach says nothing of what is behind it.
    expect(await ask404(["orders"], "edge")).toBe("no_route\n");
  });

  it("G7 P11: a deadline of the client is kept, and passed on to the server", async () => {
    const slow = await endpoint(() => {});
    const { port } = await proxied({
      orders: { discovery: { static: [slow.address] }, retry: { attempts: 1 } },
    });
    const startedAt = performance.now();
    const reply = await ask(port, "GET", "X-Mesh-Timeout-Ms: 200\r\n");
    expect(reply).toMatchObject({ status: 504, body: "call_deadline\n" });
    expect(performance.now() - startedAt).toBeLessThan(5_000);
    const said = Number(/x-mesh-timeout-ms: (\d+)/.exec(slow.requests[0]!)![1]);
    expect(said).toBeGreaterThan(0);
    expect(said).toBeLessThanOrEqual(200);
  });

  it("H16 P11: a request that has come through 17 hops is a loop", async () => {
    const good = await endpoint(answers("good"));
    const { port } = await proxied({ orders: [good.address] }, { listener: { posture: "mesh" } });
    expect(await ask(port, "GET", "X-Mesh-Hops: 17\r\n")).toMatchObject({
      status: 508,
      body: "loop\n",
    });
    expect(await ask(port, "GET", "X-Mesh-Hops: 16\r\n")).toMatchObject({ status: 200 });
    expect(good.requests[0]).toContain("x-mesh-hops: 17");
  });

  it.each(["local", "edge", "mesh"] as const)(
    "H16 P11: two proxies that send to each other end in a loop, in the posture %s",
    async (posture) => {
      const first = await proxied({ a: [await free()] }, { listener: { posture } });
      const second = await proxied({ a: [`127.0.0.1:${first.port}`] }, { listener: { posture } });
      await first.mesh.update({
        services: {
          a: { discovery: { static: [`127.0.0.1:${second.port}`] }, retry: { attempts: 1 } },
        },
      });
      const { text } = await exchangeRaw(
        second.port,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
      );
      expect(repliesIn(text)[0]).toMatchObject({ status: 508 });
    },
  );
});

describe("the words of the mesh", () => {
  it("metrics and snapshot have the names of the library", async () => {
    const good = await endpoint(answers("good"));
    const { port, mesh } = await proxied({ orders: [good.address] });
    for (let i = 0; i < 3; i++) await ask(port);
    const metrics = mesh.metrics();
    const counted = (name: string, labels: object): unknown =>
      metrics.find(
        (one) =>
          one.name === name &&
          Object.entries(labels).every(([key, value]) => one.labels[key] === value),
      );
    const outbound = {
      service: "orders",
      protocol: "http",
      direction: "outbound",
      route: "default",
      outcome: "success",
      status: "2xx",
    };
    expect(counted("inmesh.calls", outbound)).toMatchObject({ value: 3 });
    expect(
      counted("inmesh.calls", { ...outbound, service: "out", direction: "inbound" }),
    ).toMatchObject({ value: 3 });
    const [service] = mesh.snapshot().services;
    expect(service).toMatchObject({ name: "orders", protocol: "http", callsInFlight: 0 });
    expect(service!.endpoints[0]).toMatchObject({
      address: good.address,
      breaker: { state: "closed" },
    });
  });

  it("a breaker opens at an endpoint that fails, and the other one gets what follows", async () => {
    const bad = await endpoint(answers("bad", "500 Internal Server Error"));
    const good = await endpoint(answers("good"));
    const { port, mesh } = await proxied({
      orders: {
        discovery: { static: [bad.address, good.address] },
        retry: { attempts: 1 },
        balancer: { kind: "round-robin" },
      },
    });
    const isOpen = (): boolean =>
      mesh
        .snapshot()
        .services.some(({ endpoints }) =>
          endpoints.some(({ breaker }) => breaker.state === "open"),
        );
    for (let i = 0; i < 60 && !isOpen(); i++) await ask(port);
    expect(isOpen()).toBe(true);
    const before = bad.requests.length;
    for (let i = 0; i < 5; i++) expect((await ask(port)).body).toBe("good");
    expect(bad.requests.length).toBe(before);
  });

  it("inbound: the application's own authority stays, and limits refuse", async () => {
    const app = await endpoint(answers("app"));
    const { port } = await proxied(
      { app: [app.address] },
      {
        listener: { mode: "inbound", service: "app", posture: "mesh", limits: { maxInFlight: 0 } },
      },
    );
    const refused = await ask(port);
    expect(refused).toMatchObject({ status: 503, body: "concurrency\n" });
    expect(refused.head).toContain("x-mesh-nack: 1");
    const open = await proxied(
      { app: [app.address] },
      { listener: { mode: "inbound", service: "app" } },
    );
    expect(await ask(open.port)).toMatchObject({ status: 200, body: "app" });
    expect(app.requests[0]).toContain("host: orders\r\n");
  });
});
