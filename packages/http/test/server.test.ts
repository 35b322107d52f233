/** The server half: what it reads, what its handler's calls inherit, health, overload and drain. */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { context, createMesh, ServedRequest } from "@inmesh/core";
import { expectNoLeak } from "@inmesh/core/testing";
import { meshServer, type MeshServer, type ServerOptions } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { RawClient } from "./support/raw-client.ts";
import { clientOf, counted, peerOf, sleep, until } from "./wire.ts";

const GET = "GET / HTTP/1.1\r\nhost: svc\r\n";
const OK: RequestListener = (_request, response) => void response.end("ok");

async function start(handler: RequestListener, options: ServerOptions = {}): Promise<MeshServer> {
  const server = meshServer(handler, { discoveryWaitMs: 0, idleWaitMs: 20, ...options });
  await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  return server;
}

const portOf = (server: MeshServer): number => server.address()!.port;
const addressOf = (server: MeshServer): string => `127.0.0.1:${portOf(server)}`;

async function rawTo(server: MeshServer): Promise<RawClient> {
  const client = await RawClient.to(portOf(server));
  onTestFinished(() => void client.socket.destroy());
  return client;
}

/** What the handler's context says of a request with these header lines. */
async function servedWith(lines: string, options: ServerOptions = {}): Promise<ServedRequest> {
  let served: ServedRequest | undefined;
  const server = await start((_request, response) => {
    served = context.getStore();
    response.end();
  }, options);
  const client = await rawTo(server);
  client.send(`${GET}${lines}\r\n`);
  expect((await client.reply()).status).toBe(200);
  return served!;
}

describe("what a request says", () => {
  it("deadline, attempt, priority, hops and trace are in the context of the handler", async () => {
    const before = performance.now();
    const served = await servedWith(
      "x-mesh-timeout-ms: 500\r\nX-Mesh-Attempt: 2\r\nx-mesh-priority: critical\r\nx-mesh-hops: 3\r\n" +
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n" +
        "tracestate: a=1\r\ntracestate: b=2\r\n",
      { posture: "mesh" },
    );
    expect(served.deadlineAt).toBeGreaterThanOrEqual(before + 500);
    expect(served.deadlineAt).toBeLessThan(performance.now() + 500);
    expect(served).toMatchObject({
      attempt: 2,
      priority: "critical",
      hops: 3,
      untrustedDeadline: false,
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      tracestate: "a=1,b=2",
    });
  });

  it.each([
    ["no digits", "x-mesh-timeout-ms: soon\r\n"],
    ["a sign", "x-mesh-timeout-ms: +5\r\n"],
    ["too many digits", "x-mesh-timeout-ms: 12345678901\r\n"],
    ["two that contradict", "x-mesh-timeout-ms: 5\r\nx-mesh-timeout-ms: 6\r\n"],
  ])("a deadline with %s is none", async (_name, lines) => {
    expect((await servedWith(lines)).deadlineAt).toBe(Infinity);
  });

  it("a deadline beyond maxTimeoutMs is cut to it", async () => {
    const limits = { maxTimeoutMs: 1_000 };
    const served = await servedWith("x-mesh-timeout-ms: 9999999999\r\n", { limits });
    expect(served.deadlineAt).toBeLessThanOrEqual(performance.now() + 1_000);
  });

  it("H21 LS: control fields that come twice count as absent", async () => {
    const served = await servedWith(
      "x-mesh-attempt: 2\r\nx-mesh-attempt: 3\r\nx-mesh-priority: critical\r\nx-mesh-priority: critical\r\n",
      { posture: "mesh" },
    );
    expect(served).toMatchObject({ attempt: 1, priority: "normal" });
  });

  it.each([
    ["zero ids", `00-${"0".repeat(32)}-b7ad6b7169203331-01`],
    ["upper case", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"],
    ["version ff", "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"],
    ["too short", "00-0af7-b7ad-01"],
  ])("a trace with %s is none", async (_name, traceparent) => {
    const served = await servedWith(`traceparent: ${traceparent}\r\ntracestate: a=1\r\n`);
    expect(served).toMatchObject({ traceparent: undefined, tracestate: undefined });
  });

  it("tracestate at the limit stays, one byte more is dropped", async () => {
    const parent = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";
    const at = await servedWith(`${parent}tracestate: a=${"1".repeat(510)}\r\n`);
    expect(at.tracestate).toHaveLength(512);
    const over = await servedWith(`${parent}tracestate: a=${"1".repeat(511)}\r\n`);
    expect(over.tracestate).toBeUndefined();
    expect(over.traceparent).toBeDefined();
  });

  it("edge: an untrusted caller may ask for less, never for more", async () => {
    const served = await servedWith("x-mesh-priority: critical\r\nx-mesh-timeout-ms: 500\r\n");
    expect(served).toMatchObject({ priority: "normal", untrustedDeadline: true });
    expect(served.deadlineAt).toBeLessThan(Infinity);
    expect(await servedWith("x-mesh-priority: sheddable\r\n")).toMatchObject({
      priority: "sheddable",
    });
  });

  it.each(["edge", "local", "mesh"] as const)(
    "%s: the handler sees no claim of ours",
    async (posture) => {
      let seen: string[] = [];
      const server = await start(
        (request, response) => {
          seen = [
            ...Object.keys(request.headers),
            ...Object.keys(request.headersDistinct),
            ...request.rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase()),
          ];
          response.end();
        },
        { posture },
      );
      const client = await rawTo(server);
      const claims = [
        "x-mesh-timeout-ms: 500",
        "X-Mesh-Client-Id: root",
        "x_mesh_client_id: root",
        "x-mesh-nack: 1",
        "l5d-client-id: root",
        "X-Forwarded-Client-Cert: root",
        "x-ssl-client-dn: root",
        "ssl-client-verify: SUCCESS",
        "x-envoy-internal: true",
      ];
      client.send(
        `${GET}a: 1\r\n${claims.join("\r\n")}\r\nx-forwarded-for: 1.2.3.4\r\nb: 2\r\n\r\n`,
      );
      expect((await client.reply()).status).toBe(200);
      const names = ["host", "a", "x-forwarded-for", "b"];
      expect(seen).toEqual([...names, ...names, ...names]);
    },
  );

  it("a claim that something in front vouches for stays", async () => {
    let seen: unknown;
    const server = await start(
      (request, response) => {
        seen = request.headers["x-forwarded-client-cert"];
        response.end();
      },
      { keepHeaders: ["X-Forwarded-Client-Cert"] },
    );
    const client = await rawTo(server);
    client.send(`${GET}x-forwarded-client-cert: By=a\r\n\r\n`);
    await client.reply();
    expect(seen).toBe("By=a");
  });

  it("baggage is dropped at the edge, and above its limit anywhere", async () => {
    const seen: unknown[] = [];
    for (const [posture, bytes] of [
      ["edge", 10],
      ["mesh", 8_190],
      ["mesh", 8_193],
    ] as const) {
      const server = await start(
        (request, response) => {
          seen.push(request.headers["baggage"]?.length);
          response.end();
        },
        { posture, limits: { maxHeaderValueBytes: 9_000 } },
      );
      const client = await rawTo(server);
      client.send(`${GET}baggage: ${"a".repeat(bytes)}\r\n\r\n`);
      await client.reply();
    }
    expect(seen).toEqual([undefined, 8_190, undefined]);
  });

  it("G7 LS: expired on arrival: 504, and the handler does not run", async () => {
    let ran = 0;
    const server = await start(() => void ran++, { posture: "mesh" });
    const client = await rawTo(server);
    client.send(`${GET}x-mesh-timeout-ms: 0\r\n\r\n`);
    const { status, head } = await client.reply();
    expect(status).toBe(504);
    expect(head).toMatch(/x-mesh-error: expired_on_arrival/);
    expect(head).not.toMatch(/connection: close/i);
    expect(ran).toBe(0);
    expect(server.snapshot().refused).toEqual({ expired_on_arrival: 1 });
  });

  it("H16 LS: a request that has come through too many hops is refused", async () => {
    const server = await start(OK, { posture: "mesh" });
    for (const [hops, status] of [
      [16, 200],
      [17, 508],
      [999, 508],
    ] as const) {
      const client = await rawTo(server);
      client.send(`${GET}x-mesh-hops: ${hops}\r\n\r\n`);
      expect((await client.reply()).status, `${hops}`).toBe(status);
    }
  });
});

describe("the context of a handler", () => {
  it("pipelined requests, their bodies and what comes later each see their own", async () => {
    const seen: string[] = [];
    const byRequest = new Map<ServedRequest, string>();
    const note = (what: string): void => {
      seen.push(`${what} ${byRequest.get(context.getStore()!)}`);
    };
    const server = await start((request, response) => {
      byRequest.set(context.getStore()!, request.url!);
      request.on("data", () => note(`data of ${request.url}:`));
      request.on("end", () => {
        setImmediate(() => {
          note(`later of ${request.url}:`);
          response.end("ok");
        });
      });
    });
    const client = await rawTo(server);
    const post = (path: string): string =>
      `POST ${path} HTTP/1.1\r\nhost: svc\r\ncontent-length: 3\r\n\r\n`;
    client.send(`${post("/a")}abc${post("/b")}ab`);
    await until(() => seen.includes("data of /b: /b"));
    client.send(`c${post("/c")}abc`);
    for (let i = 0; i < 3; i++) expect((await client.reply()).status).toBe(200);
    expect(byRequest.size).toBe(3);
    for (const line of seen) expect(line).toMatch(/ of (\/\w): \1$/);
    expect(seen.filter((line) => line.startsWith("later"))).toHaveLength(3);
  });

  it("a request that the host emits gives the host's own context back", async () => {
    const server = await start((_request, response) => void response.write("o"));
    const own = new ServedRequest();
    const after: unknown[] = [];
    const outer = createServer((request, response) => {
      setImmediate(() => {
        server.server.emit("request", request, response);
        after.push(context.getStore());
        context.run(own, () => {
          server.server.emit("request", request, response);
          after.push(context.getStore());
        });
        response.end();
      });
    });
    outer.listen(0, "127.0.0.1");
    await once(outer, "listening");
    onTestFinished(() => void outer.close());
    const client = await RawClient.to((outer.address() as AddressInfo).port);
    onTestFinished(() => void client.socket.destroy());
    client.send(`${GET}\r\n`);
    expect((await client.reply()).status).toBe(200);
    await until(() => after.length === 2);
    expect(after).toEqual([undefined, own]);
  });
});

describe("middle hops", () => {
  it("H16 LC: a service that calls itself: refused at the seventeenth hop, and never sent again", async () => {
    let ran = 0;
    let self: ReturnType<typeof clientOf> | undefined;
    const server = await start((_request, response) => {
      ran++;
      void self!.fetch("/").then((reply) => {
        response.statusCode = reply.status;
        response.end();
      });
    });
    self = clientOf([addressOf(server)]);
    const reply = await self.fetch("/");
    expect(reply.status).toBe(508);
    expect(reply.mesh.attempts).toBe(1);
    expect(ran).toBe(17);
    expect(server.snapshot().refused).toEqual({ loop: 1 });
  });

  it("G7 over LS: deadline, trace, priority, attempt and hops travel on by themselves", async () => {
    let seen: ServedRequest | undefined;
    let leftMs = Infinity;
    const last = await start(
      (_request, response) => {
        seen = context.getStore();
        leftMs = seen!.deadlineAt - performance.now();
        response.end("ok");
      },
      { posture: "mesh" },
    );
    const inner = clientOf([addressOf(last)]);
    const middle = await start(
      (_request, response) => {
        setTimeout(
          () => void inner.fetch("/").then(async (reply) => response.end(await reply.text())),
          30,
        );
      },
      { posture: "mesh" },
    );
    const client = await rawTo(middle);
    client.send(
      `${GET}x-mesh-timeout-ms: 2000\r\nx-mesh-priority: sheddable\r\nx-mesh-hops: 1\r\n` +
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=1\r\n\r\n",
    );
    expect((await client.reply()).body).toBe("ok");
    expect(seen).toMatchObject({
      priority: "sheddable",
      hops: 2,
      traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
      tracestate: "a=1",
    });
    expect(leftMs).toBeLessThan(2_000 - 30 - 10 + 5);
  });

  it("H2 LS: calls end within 100 ms when the caller goes away, and their endpoint is not charged", async () => {
    let gone = 0;
    const hanging = await peerOf(async (connection) => {
      await connection.readRequest();
      await once(connection.socket, "end");
      gone++;
    });
    const inner = clientOf([hanging.address]);
    const failures: unknown[] = [];
    let leftAt = Infinity;
    let endedAt = 0;
    const middle = await start((_request, response) => {
      // Known here; how long the news took from the client is the machine's affair.
      response.on("close", () => (leftAt = performance.now()));
      for (let i = 0; i < 3; i++) {
        void inner.fetch(`/${i}`).catch((error: unknown) => {
          endedAt = performance.now();
          failures.push(error);
        });
      }
    });
    const client = await rawTo(middle);
    client.send(`${GET}\r\n`);
    await until(() => hanging.requests.length === 3);
    client.socket.resetAndDestroy();
    await until(() => failures.length === 3);
    expect(endedAt - leftAt).toBeLessThan(100);
    for (const error of failures) {
      expect(error).toMatchObject({ code: "cancelled", reason: "caller" });
    }
    await until(() => gone === 3);
    expect(counted(inner.mesh, "inmesh.calls", { outcome: "abandoned" })).toBe(3);
    expect(middle.snapshot().requestsInFlight).toBe(0);
  });

  it("a call begun after its caller has gone is refused; one that left the context is not", async () => {
    const far = await start(OK);
    const inner = clientOf([addressOf(far)]);
    const results: unknown[] = [];
    const middle = await start(async (_request, response) => {
      await once(response, "close");
      const begun = (call: Promise<{ status: number }>): void =>
        void call.then(
          ({ status }) => results.push(status),
          (error: { reason: string }) => results.push(error.reason),
        );
      begun(inner.fetch("/"));
      context.exit(() => begun(inner.fetch("/")));
    });
    const client = await rawTo(middle);
    client.send(`${GET}\r\n`);
    await until(() => middle.snapshot().requestsInFlight === 1);
    client.socket.destroy();
    await until(() => results.length === 2);
    expect(results).toEqual(["caller", 200]);
  });

  it("work that goes on after a reply that was delivered is left alone", async () => {
    const far = await start(
      (_request, response) => void setTimeout(() => response.end("late"), 80),
    );
    const inner = clientOf([addressOf(far)]);
    let late: Promise<string> | undefined;
    const middle = await start((_request, response) => {
      late = inner.fetch("/").then((reply) => reply.text());
      response.end("accepted");
    });
    const client = await rawTo(middle);
    client.send(`${GET}\r\n`);
    expect((await client.reply()).body).toBe("accepted");
    client.socket.destroy();
    expect(await late).toBe("late");
  });

  it("what the deadline of an untrusted caller cuts short is not charged to the endpoint", async () => {
    for (const [posture, outcome] of [
      ["edge", "abandoned"],
      ["mesh", "timeout"],
    ] as const) {
      const silent = await peerOf(async (connection) => void (await connection.readRequest()));
      const inner = clientOf([silent.address]);
      const middle = await start(
        (_request, response) => {
          inner.fetch("/").catch(({ code }: { code: string }) => response.end(code));
        },
        { posture },
      );
      const client = await rawTo(middle);
      client.send(`${GET}x-mesh-timeout-ms: 60\r\n\r\n`);
      expect((await client.reply()).body).toBe("deadline_exceeded");
      expect(counted(inner.mesh, "inmesh.attempts", { outcome }), posture).toBe(1);
    }
  });

  it("B13 LC: three real hops that may retry load the last ≤ 1.2 times", async () => {
    let last = 0;
    const c = await start((_request, response) => {
      last++;
      response.statusCode = 503;
      response.end();
    });
    const retry = { attempts: 3, backoffBaseMs: 0, backoffMaxMs: 0 };
    const relay = async (to: MeshServer): Promise<MeshServer> => {
      const inner = clientOf([addressOf(to)], { retry });
      return start((_request, response) => {
        inner.fetch("/").then(
          (reply) => {
            reply.discard();
            response.writeHead(reply.status);
            response.end();
          },
          () => {
            response.statusCode = 502;
            response.end();
          },
        );
      });
    };
    const a = await relay(await relay(c));
    const client = clientOf([addressOf(a)], { retry });
    const calls = 400;
    let replies = 0;
    for (let i = 0; i < calls; i += 20) {
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          const reply = await client.fetch("/");
          reply.discard();
          if (reply.status === 503) replies++;
        }),
      );
    }
    expect(replies).toBe(calls);
    // The reserve of one hop: one retry per second, of the window's ten.
    expect(last).toBeLessThanOrEqual(calls * 1.2 + 12);
    expect(last).toBeGreaterThan(calls * 1.05);
  });
});

describe("health", () => {
  it("alive and ready, until it drains", async () => {
    const server = await start(OK, { discoveryWaitMs: 150 });
    const client = await rawTo(server);
    const ask = async (path: string): Promise<[number, string]> => {
      client.send(`GET ${path} HTTP/1.1\r\nhost: svc\r\n\r\n`);
      const { status, body } = await client.reply();
      return [status, body];
    };
    expect(await ask("/livez")).toEqual([200, "ok\n"]);
    expect(await ask("/readyz")).toEqual([200, "ok\n"]);
    const drained = server.drain(2_000);
    expect(await ask("/livez")).toEqual([200, "ok\n"]);
    expect(await ask("/readyz")).toEqual([503, "draining\n"]);
    await drained;
  });

  it("paths are the application's to choose, or to answer itself; its own condition counts", async () => {
    let ready = false;
    const server = await start(OK, {
      health: { live: false, ready: "/healthz", isReady: () => ready },
    });
    const client = await rawTo(server);
    const ask = async (path: string): Promise<string> => {
      client.send(`GET ${path} HTTP/1.1\r\nhost: svc\r\n\r\n`);
      return (await client.reply()).body;
    };
    expect([await ask("/livez"), await ask("/healthz")]).toEqual(["ok", "not ready\n"]);
    ready = true;
    expect(await ask("/healthz")).toBe("ok\n");
  });

  it("a condition that throws is an answer", async () => {
    const server = await start(OK, {
      health: {
        isReady: () => {
          throw new Error("no");
        },
      },
    });
    const client = await rawTo(server);
    client.send("GET /readyz HTTP/1.1\r\nhost: svc\r\n\r\n");
    expect((await client.reply()).status).toBe(503);
  });

  it("switched off, the handler gets them", async () => {
    const server = await start(OK, { health: false });
    const client = await rawTo(server);
    client.send("GET /livez HTTP/1.1\r\nhost: svc\r\n\r\n");
    expect((await client.reply()).body).toBe("ok");
  });
});

describe("overload", () => {
  it("B8 LS: above maxInFlight: 503, Retry-After, a nack, quickly, and the handler does not run", async () => {
    const held: (() => void)[] = [];
    const server = await start((_request, response) => void held.push(() => response.end("ok")), {
      limits: { maxInFlight: 2 },
    });
    const busy = [await rawTo(server), await rawTo(server)];
    for (const client of busy) client.send(`${GET}\r\n`);
    await until(() => held.length === 2);
    const third = await rawTo(server);
    third.send(`${GET}\r\n`);
    await third.reply();
    const startedAt = performance.now();
    for (let i = 0; i < 20; i++) {
      third.send(`${GET}\r\n`);
      const { status, head } = await third.reply();
      expect(status).toBe(503);
      expect(head).toMatch(/retry-after: 1\r\n.*x-mesh-nack: 1/is);
    }
    expect((performance.now() - startedAt) / 20).toBeLessThan(5);
    third.send("GET /readyz HTTP/1.1\r\nhost: svc\r\n\r\n");
    expect((await third.reply()).body).toBe("overloaded\n");
    expect(held).toHaveLength(2);
    for (const end of held) end();
    await until(() => server.snapshot().requestsInFlight === 0);
    third.send(`${GET}\r\n`);
    await until(() => held.length === 3);
    held[2]!();
    expect((await third.reply()).status).toBe(200);
  });

  it("a refusal is sent again elsewhere, a POST too", async () => {
    const held: (() => void)[] = [];
    const full = await start((_request, response) => void held.push(() => response.end()), {
      limits: { maxInFlight: 1 },
    });
    const holder = await rawTo(full);
    holder.send(`${GET}\r\n`);
    await until(() => held.length === 1);
    const free = await start((request, response) => void request.pipe(response));
    const client = clientOf([addressOf(full), addressOf(free)], { trustNacks: true });
    for (let i = 0; i < 5; i++) {
      const reply = await client.fetch("/", { method: "POST", body: "order" });
      expect([reply.status, await reply.text()]).toEqual([200, "order"]);
    }
    held[0]!();
  });

  it("the least important go first, the critical last", async () => {
    const held: (() => void)[] = [];
    const server = await start((_request, response) => void held.push(() => response.end()), {
      limits: { maxInFlight: 10 },
      posture: "mesh",
    });
    const statusOf = async (priority: string): Promise<number | undefined> => {
      const client = await rawTo(server);
      const before = held.length;
      client.send(`${GET}x-mesh-priority: ${priority}\r\n\r\n`);
      await until(() => client.text !== "" || held.length > before);
      return client.text === "" ? undefined : (await client.reply()).status;
    };
    for (let i = 0; i < 8; i++) expect(await statusOf("sheddable")).toBeUndefined();
    expect(await statusOf("sheddable")).toBe(503);
    for (let i = 0; i < 2; i++) expect(await statusOf("normal")).toBeUndefined();
    expect(await statusOf("normal")).toBe(503);
    expect(await statusOf("critical")).toBeUndefined();
    expect(await statusOf("critical")).toBe(503);
    for (const end of held) end();
  });
});

describe("drain", () => {
  it("L1 LS: not ready, then close on every reply, then gone; nothing is lost", async () => {
    const held: (() => void)[] = [];
    const server = await start(
      (request, response) => {
        if (request.url === "/slow") held.push(() => response.end("slow"));
        else response.end("ok");
      },
      { discoveryWaitMs: 100, idleWaitMs: 300 },
    );
    const [slow, idle, busy] = [await rawTo(server), await rawTo(server), await rawTo(server)];
    slow.send("GET /slow HTTP/1.1\r\nhost: svc\r\n\r\n");
    await until(() => held.length === 1);
    for (const client of [idle, busy]) {
      client.send(`${GET}\r\n`);
      expect((await client.reply()).head).toMatch(/connection: keep-alive/i);
    }
    const drained = server.drain(5_000);
    expect(server.drain(9_000)).toBe(drained);
    expect(server.state).toBe("draining");
    // Discovery has not noticed yet: new connections are still served, and kept.
    const late = await rawTo(server);
    late.send(`${GET}\r\n`);
    expect((await late.reply()).head).toMatch(/connection: keep-alive/i);
    await until(() => server.state === "closing");
    busy.send(`${GET}\r\n`);
    expect(await busy.reply()).toMatchObject({
      status: 200,
      head: expect.stringMatching(/connection: close/i),
    });
    await busy.end();
    await idle.end();
    expect(server.state).toBe("closing");
    held[0]!();
    expect(await slow.reply()).toMatchObject({ status: 200, body: "slow" });
    await drained;
    expect(server.state).toBe("closed");
    await expect(RawClient.to(server.address()?.port ?? 1)).rejects.toThrow();
  });

  it("H15 LS: a request that began before the drain gets Connection: close too", async () => {
    let end: (() => void) | undefined;
    const server = await start((_request, response) => void (end = () => response.end("ok")));
    const client = await rawTo(server);
    client.send(`${GET}\r\n`);
    await until(() => end !== undefined);
    const drained = server.drain(5_000);
    await until(() => server.state === "closing");
    end!();
    expect((await client.reply()).head).toMatch(/connection: close/i);
    await drained;
  });

  it("L1 LS: behind a download that began before the drain, one more request is served", async () => {
    let end: (() => void) | undefined;
    const server = await start(
      (request, response) => {
        if (request.url === "/small") return void response.end("ok");
        response.setHeader("content-length", 8);
        response.write("half");
        end = () => response.end("half");
      },
      { idleWaitMs: 2_000 },
    );
    const client = await rawTo(server);
    client.send("GET /download HTTP/1.1\r\nhost: svc\r\n\r\n");
    await client.until(() => client.text.endsWith("half"), "the first half");
    const drained = server.drain(5_000);
    await until(() => server.state === "closing");
    end!();
    expect(await client.reply()).toMatchObject({
      body: "halfhalf",
      head: expect.stringMatching(/connection: keep-alive/i),
    });
    client.send("GET /small HTTP/1.1\r\nhost: svc\r\n\r\n");
    expect(await client.reply()).toMatchObject({
      body: "ok",
      head: expect.stringMatching(/connection: close/i),
    });
    await drained;
  });

  it("an application that says keep-alive while draining is taken at its word", async () => {
    const server = await start(
      (_request, response) => {
        response.setHeader("connection", "keep-alive");
        response.end("ok");
      },
      { idleWaitMs: 1_000 },
    );
    const client = await rawTo(server);
    client.send(`${GET}\r\n`);
    await client.reply();
    const drained = server.drain(5_000);
    for (let i = 0; i < 2; i++) {
      client.send(`${GET}\r\n`);
      expect((await client.reply()).status).toBe(200);
    }
    await drained;
  });

  it("L3 LS: a hung request is destroyed at the grace", async () => {
    const server = await start(() => {});
    const client = await rawTo(server);
    client.send(`${GET}\r\n`);
    await until(() => server.snapshot().requestsInFlight === 1);
    const startedAt = performance.now();
    await server.drain(200);
    expect(performance.now() - startedAt).toBeGreaterThan(190);
    expect(performance.now() - startedAt).toBeLessThan(1_000);
    await client.end();
    await until(() => server.snapshot().requestsInFlight === 0);
  });

  it("L2 LS: twice, and close in the middle of it, are the same end; signals stay the application's", async () => {
    const signals = (): number[] =>
      ["SIGTERM", "SIGINT"].map((name) => process.listenerCount(name));
    const before = signals();
    const server = await start(() => {}, { discoveryWaitMs: 60_000 });
    const client = await rawTo(server);
    client.send(`${GET}\r\n`);
    await until(() => server.snapshot().requestsInFlight === 1);
    const drained = server.drain(60_000);
    const closed = server.close(50);
    expect(closed).toBe(drained);
    await closed;
    expect(server.state).toBe("closed");
    await server.close();
    expect(signals()).toEqual(before);
  });

  it("L9 LS: a request on a kept connection while closing is served; a new connection is refused", async () => {
    const server = await start(OK, { idleWaitMs: 2_000 });
    const client = await rawTo(server);
    client.send(`${GET}\r\n`);
    await client.reply();
    const port = portOf(server);
    const drained = server.drain(5_000);
    await until(() => server.state === "closing");
    await expect(RawClient.to(port)).rejects.toThrow(/ECONNREFUSED/);
    client.send(`${GET}\r\n`);
    expect((await client.reply()).status).toBe(200);
    await drained;
  });

  it("H7 LS: an upgraded connection is the application's until the grace", async () => {
    const server = await start(OK);
    server.server.on("upgrade", (_request: unknown, socket: Socket) => {
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n",
      );
      socket.pipe(socket);
    });
    const client = await rawTo(server);
    client.send(`${GET}upgrade: echo\r\nconnection: upgrade\r\n\r\n`);
    await client.until(() => client.text.includes("\r\n\r\n"), "101");
    const startedAt = performance.now();
    const drained = server.drain(400);
    await sleep(100);
    client.send("still here");
    await client.until(() => client.text.endsWith("still here"), "the echo");
    await drained;
    expect(performance.now() - startedAt).toBeGreaterThan(390);
    await client.end();
  });

  it("leaves no handle, timer or descriptor behind", async () => {
    await expectNoLeak(async () => {
      for (let i = 0; i < 20; i++) {
        await using server = meshServer(OK, { discoveryWaitMs: 0 });
        const { port } = await server.listen(0, "127.0.0.1");
        using client = await RawClient.to(port);
        client.send(`${GET}\r\n`);
        expect((await client.reply()).status).toBe(200);
      }
    });
  });
});

describe("a server that is given", () => {
  it("its listeners are taken over, weak limits made strict, others reported", async () => {
    const given = createServer(OK);
    given.keepAliveTimeout = 3_000;
    const server = meshServer(given, { name: "orders" });
    onTestFinished(() => server.close(0));
    expect(server.server).toBe(given);
    expect(given.headersTimeout).toBe(10_000);
    expect(given.maxConnections).toBe(10_000);
    expect(given.keepAliveTimeout).toBe(3_000);
    expect(server.snapshot()).toMatchObject({
      name: "orders",
      weaker: [{ name: "keepAliveIdleMs", wanted: 65_000, actual: 3_000 }],
    });
    given.listen(0, "127.0.0.1");
    await once(given, "listening");
    const client = await RawClient.to((given.address() as AddressInfo).port);
    onTestFinished(() => void client.socket.destroy());
    client.send(`${GET}x-mesh-timeout-ms: 0\r\n\r\n`);
    expect((await client.reply()).status).toBe(504);
    client.send(`${GET}\r\n`);
    expect((await client.reply()).body).toBe("ok");
  });

  it("H3 LS: its own checkContinue listener decides, behind the same checks", async () => {
    const given = createServer(OK);
    given.on("checkContinue", (_request, response) => {
      response.statusCode = 403;
      response.end();
    });
    const server = meshServer(given);
    onTestFinished(() => server.close(0));
    await server.listen(0, "127.0.0.1");
    const client = await rawTo(server);
    const expects = "content-length: 2\r\nexpect: 100-continue\r\n";
    client.send(`POST / HTTP/1.1\r\nhost: svc\r\n${expects}x-mesh-timeout-ms: 0\r\n\r\n`);
    expect((await client.reply()).status).toBe(504);
    const other = await rawTo(server);
    other.send(`POST / HTTP/1.1\r\nhost: svc\r\n${expects}\r\n`);
    expect((await other.reply()).status).toBe(403);
  });

  it("every request listener it has gets every request", async () => {
    const given = createServer(OK);
    const seen: string[] = [];
    given.on("request", ({ url }) => void seen.push(url!));
    const server = meshServer(given);
    onTestFinished(() => server.close(0));
    await server.listen(0, "127.0.0.1");
    const client = await rawTo(server);
    client.send(`${GET}\r\n`);
    expect((await client.reply()).body).toBe("ok");
    expect(seen).toEqual(["/"]);
  });

  it("limits that are none, or are no numbers, are refused at once", () => {
    expect(() => meshServer(OK, { limits: { maxHeader: 1 } as never })).toThrow(
      /maxHeader is not known/,
    );
    expect(() => meshServer(OK, { limits: { maxHops: -1 } })).toThrow(RangeError);
    expect(() => meshServer(OK, { posture: "trusted" as never })).toThrow(/no posture "trusted"/);
  });

  it("shares the clock of a mesh", async () => {
    const mesh = createMesh({ env: {} });
    onTestFinished(() => mesh.close(0));
    const server = await start(OK, { mesh });
    const client = await rawTo(server);
    client.send(`${GET}\r\n`);
    expect((await client.reply()).status).toBe(200);
    await sleep(0);
  });
});
