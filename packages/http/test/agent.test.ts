/** `mesh.agent()` under node:http, axios and got, on real sockets. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createServer } from "node:https";
import type { TLSSocket } from "node:tls";
import http, { request, type ClientRequest, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import type { HttpMesh } from "@inmesh/http";
import { MeshError } from "@inmesh/core/spi";
import axios from "axios";
import got from "got";
import { describe, expect, it, onTestFinished } from "vitest";
import { TestCa } from "./support/ca.ts";
import { doorsOf, httpMeshOf } from "./support/doors.ts";
import { answering, counted, peerOf, serve, until, OK } from "./wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

/** Errors of the request itself are looked at where they matter. */
const ask = (mesh: HttpMesh, path = "/", options: http.RequestOptions = {}): ClientRequest =>
  request(`http://orders${path}`, { agent: mesh.agent(), ...options }).on("error", () => {});

const closed = (asked: ClientRequest): Promise<void> =>
  new Promise((resolve) => void asked.once("close", resolve));

async function replyTo(asked: ClientRequest, body?: string): Promise<IncomingMessage> {
  asked.end(body);
  const [reply] = (await once(asked, "response")) as [IncomingMessage];
  return reply;
}

async function errorOf(asked: ClientRequest): Promise<Error> {
  asked.end();
  const [error] = (await once(asked, "error")) as [Error];
  return error;
}

const outcomes = (mesh: HttpMesh, outcome: string): number =>
  counted(mesh, "inmesh.attempts", { outcome });

describe("mesh.agent() under node:http", () => {
  it("sends each request to a picked endpoint, with the service's Host and deadline", async () => {
    const seen: [string | undefined, string | undefined, string | undefined][] = [];
    const servers = await Promise.all(
      ["a", "b", "c"].map((name) =>
        serve((incoming, outgoing) => {
          const {
            host,
            [`x-mesh-timeout-ms`]: left,
            [`x-mesh-attempt`]: attempt,
          } = incoming.headers;
          seen.push([host, left as string | undefined, attempt as string | undefined]);
          outgoing.setHeader("x-by", name);
          incoming.pipe(outgoing);
        }),
      ),
    );
    const mesh = doorsOf(
      servers.map(({ address }) => address),
      { url: "http://orders.example:81" },
    );
    const by = new Set<unknown>();
    const one = async (): Promise<void> => {
      const asked = ask(mesh, "/", { method: "POST", headers: { "x-mesh-attempt": "7" } });
      const reply = await replyTo(asked, "body");
      by.add(reply.headers["x-by"]);
      expect(await text(reply)).toBe("body");
    };
    await Promise.all(Array.from({ length: 30 }, one));
    expect(by.size).toBe(3);
    for (const [host, left, attempt] of seen) {
      expect(host).toBe("orders.example:81");
      expect(Number(left)).toBeGreaterThan(1_000);
      expect(attempt).toBeUndefined();
    }
    await until(() => outcomes(mesh, "success") === 30);
    expect(counted(mesh, "inmesh.calls", { outcome: "success" })).toBe(30);
    expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });

  it("uses connections again, and opens no more than it may", async () => {
    const served = await serve((_incoming, outgoing) => void outgoing.end("ok"));
    const mesh = doorsOf([served.address], { limits: { maxConnectionsPerEndpoint: 3 } });
    for (let i = 0; i < 3; i++) {
      const one = async () => text(await replyTo(ask(mesh)));
      const bodies = await Promise.all(Array.from({ length: 20 }, one));
      expect(bodies).toEqual(Array(20).fill("ok"));
    }
    expect(served.connections).toBe(3);
  });

  it("C1 LC: requests that wait behind a connection that fails do not wait for ever", async () => {
    const mesh = doorsOf([await freeAddress()], { limits: { maxConnectionsPerEndpoint: 1 } });
    const errors = await Promise.all([1, 2, 3].map(() => errorOf(ask(mesh))));
    for (const error of errors) expect(error.cause).toBeInstanceOf(MeshError);
    expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });

  it("does not keep the process alive with an idle connection", async () => {
    const { address } = await serve((_incoming, outgoing) => void outgoing.end());
    const asked = ask(doorsOf([address]));
    asked.on("response", (reply) => reply.resume());
    asked.end();
    const [socket] = (await once(asked, "socket")) as [{ _handle: { hasRef(): boolean } }];
    expect(socket._handle.hasRef()).toBe(true);
    await closed(asked);
    await until(() => !socket._handle.hasRef());
  });

  it("C1 LC: a refused connection sends the request, whatever its method, to the next endpoint", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf([await freeAddress(), peer.address]);
    const one = async (_: unknown, i: number): Promise<string> =>
      text(await replyTo(ask(mesh, "/", { method: "POST" }), `order ${i}`));
    expect(await Promise.all(Array.from({ length: 20 }, one))).toEqual(Array(20).fill("ok"));
    expect(peer.requests).toHaveLength(20);
    await until(() => counted(mesh, "inmesh.calls", { outcome: "success" }) === 20);
    expect(outcomes(mesh, "failure")).toBeGreaterThan(0);
    const [dead] = mesh.snapshot().services[0]!.endpoints;
    expect(dead!.breaker.state).not.toBe("closed");
  });

  it("C13 LC: bytes after a reply are never taken for the next one", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write(OK);
      await connection.pause(20);
      await connection.write(OK.replace("ok", "no"));
      await connection.readRequest();
    });
    const mesh = doorsOf([peer.address]);
    const first = ask(mesh);
    expect(await text(await replyTo(first))).toBe("ok");
    await new Promise((resolve) => first.socket!.once("close", resolve));
    expect(await text(await replyTo(ask(mesh)))).toBe("ok");
    expect(peer.requests).toHaveLength(2);
  });

  it.each(["101 Switching Protocols", "000 Nothing"])(
    "H7 LC: %s that was not asked for is no reply",
    async (status) => {
      const peer = await answering(`HTTP/1.1 ${status}\r\n\r\n`);
      const mesh = doorsOf([peer.address]);
      const error = await errorOf(ask(mesh));
      expect(error).toMatchObject({
        cause: { code: "bad_response", reason: "malformed_response" },
      });
      await until(() => outcomes(mesh, "failure") === 1);
      await errorOf(ask(mesh));
      expect(peer.connections).toBe(2);
    },
  );

  it("C4 LC: a reset before the reply, C11 LC: and one in it, count against the endpoint", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      if (connection.number === 2) {
        await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        await connection.pause(30);
      }
      connection.rst();
    });
    const mesh = doorsOf([peer.address]);
    expect(await errorOf(ask(mesh))).toMatchObject({ code: "ECONNRESET" });
    await until(() => outcomes(mesh, "failure") === 1);
    const reply = await replyTo(ask(mesh));
    await expect(text(reply)).rejects.toMatchObject({ code: "ECONNRESET" });
    await until(() => outcomes(mesh, "failure") === 2);
  });

  it("a 5xx is a failure, a 404 a success, whatever the caller does with the body", async () => {
    let turn = 0;
    const { address } = await serve((_incoming, outgoing) => {
      outgoing.writeHead([500, 404, 429][turn++]!).end("some");
    });
    const mesh = doorsOf([address]);
    for (let i = 0; i < 3; i++) {
      const asked = ask(mesh);
      if (i > 0) asked.on("response", (reply) => reply.resume());
      asked.end();
      await closed(asked);
    }
    await until(() => mesh.snapshot().services[0]!.callsInFlight === 0);
    expect(["failure", "success", "overloaded"].map((one) => outcomes(mesh, one))).toEqual([
      1, 1, 1,
    ]);
  });

  it("H20 LC: what the caller destroys says nothing about the endpoint", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      if (connection.number === 2) {
        await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      }
    });
    const mesh = doorsOf([peer.address]);
    const waiting = ask(mesh);
    waiting.on("error", () => {});
    waiting.end();
    await until(() => peer.requests.length === 1);
    waiting.destroy();
    await closed(waiting);
    const reading = ask(mesh);
    const reply = await replyTo(reading);
    reply.on("error", () => {});
    reply.destroy();
    const early = ask(mesh);
    early.on("error", () => {});
    early.destroy(new Error("at once"));
    await closed(early);
    await until(() => outcomes(mesh, "abandoned") === 3);
    expect(outcomes(mesh, "failure")).toBe(0);
    expect(mesh.snapshot().services[0]!.callsInFlight).toBe(0);
  });

  it("the deadline ends the request while it waits for a reply, a body, or a socket", async () => {
    const peer = await peerOf(async (connection) => {
      const { head } = await connection.readRequest();
      if (head.includes("/body")) {
        await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
      }
    });
    const limits = { maxConnectionsPerEndpoint: 2 };
    // The one in the queue ends first: at the deadline of the others it would get its turn.
    const queuedRoute = {
      matches: [{ path: { type: "Exact", value: "/queued" } }],
      timeouts: { request: "100ms" },
    } as const;
    const mesh = doorsOf([peer.address], {
      timeouts: { request: "1s" },
      limits,
      routes: [queuedRoute, { name: "rest" }],
    });
    const head = errorOf(ask(mesh, "/head"));
    const read = replyTo(ask(mesh, "/body")).then((reply) => text(reply));
    const cut = expect(read).rejects.toBeDefined();
    await until(() => peer.requests.length === 2);
    const queued = errorOf(ask(mesh, "/queued"));
    expect(await head).toMatchObject({ code: "ETIMEDOUT", cause: { code: "deadline_exceeded" } });
    expect((await queued).cause).toBeInstanceOf(MeshError);
    await cut;
    expect(peer.requests.map((one) => one.head.split(" ")[1])).toEqual(["/head", "/body"]);
    await until(() => mesh.snapshot().services[0]!.callsInFlight === 0);
  });

  it("adds no listener that would swallow an error, or keep a reply from being thrown away", async () => {
    const { address } = await serve((_incoming, outgoing) => void outgoing.end("unread"));
    const mesh = doorsOf([address]);
    const asked = request("http://orders/", { agent: mesh.agent() }).end();
    await new Promise((resolve) => asked.once("finish", resolve));
    expect(asked.listenerCount("error")).toBe(0);
    await closed(asked);
    expect(outcomes(mesh, "success")).toBe(1);
  });

  it("H7 LC: an upgrade hands the socket over, and is a success", async () => {
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write("HTTP/1.1 101 Go\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nhi");
    });
    const mesh = doorsOf([peer.address]);
    const asked = ask(mesh, "/", { headers: { connection: "upgrade", upgrade: "echo" } });
    asked.end();
    const [, socket, head] = (await once(asked, "upgrade")) as [
      unknown,
      { destroy(): void },
      Buffer,
    ];
    expect(String(head)).toBe("hi");
    await until(() => outcomes(mesh, "success") === 1);
    socket.destroy();
  });

  it("passes other origins to a plain agent", async () => {
    const { address } = await serve(
      (incoming, outgoing) => void outgoing.end(incoming.headers.host),
    );
    const mesh = doorsOf(["127.0.0.1:1"]);
    const reply = await replyTo(request(`http://${address}/`, { agent: mesh.agent() }));
    expect(await text(reply)).toBe(address);
    expect(counted(mesh, "inmesh.calls")).toBe(0);
    mesh.agent().destroy();
  });

  it("L9 LC: a closed mesh refuses, and its sockets are gone", async () => {
    const served = await serve((_incoming, outgoing) => void outgoing.end("ok"));
    const mesh = doorsOf([served.address]);
    await text(await replyTo(ask(mesh)));
    await mesh.close(0);
    expect(await errorOf(ask(mesh))).toMatchObject({ code: "closed" });
    const open = (): Promise<number> =>
      new Promise((resolve) => served.server.getConnections((_error, count) => resolve(count)));
    while ((await open()) > 0) await new Promise(setImmediate);
  });

  it("the same scheme gives the same agent; https is one for https URLs", () => {
    const mesh = httpMeshOf({ bank: { url: "https://bank.example" } });
    expect(mesh.agent()).toBe(mesh.agent("http"));
    expect(mesh.agent("https")).not.toBe(mesh.agent());
    const asked = request("https://bank/", { agent: mesh.agent("https"), protocol: "https:" });
    asked.on("error", () => {});
    asked.destroy();
  });
});

describe("under clients that take an agent", () => {
  it("axios", async () => {
    const { address } = await serve((incoming, outgoing) => {
      outgoing.setHeader("content-type", "application/json");
      incoming.pipe(outgoing);
    });
    const mesh = doorsOf([address]);
    const client = axios.create({ httpAgent: mesh.agent(), adapter: "http" });
    const reply = await client.post("http://orders/x", { order: 1 });
    expect(reply.data).toEqual({ order: 1 });
    await until(() => counted(mesh, "inmesh.calls", { outcome: "success" }) === 1);
    const failure = client.get("http://orders/", {
      httpAgent: doorsOf([await freeAddress()]).agent(),
    });
    await expect(failure).rejects.toThrow(/no connection|accepts connections/);
  });

  it("axios and got over TLS: the service's authority and name are checked, not the URL's", async () => {
    const ca = new TestCa();
    const names: (string | false)[] = [];
    const server = createServer(ca.issue(), (incoming, outgoing) => {
      names.push((incoming.socket as TLSSocket & { servername: string }).servername);
      outgoing.end(incoming.headers.host);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const bank = { scheme: "https", authority: "bank.example" } as const;
    const discovery = { static: [`127.0.0.1:${port}`] };
    const mesh = httpMeshOf({
      bank: { ...bank, discovery, tls: { ca: ca.cert, serverName: "svc" } },
      distrusted: { ...bank, discovery, tls: { ca: new TestCa().cert, serverName: "svc" } },
    });
    const agent = mesh.agent("https");
    const client = axios.create({ httpsAgent: agent, adapter: "http" });
    expect((await client.get("https://bank/x")).data).toBe("bank.example");
    expect(await got.default("https://bank/x", { agent: { https: agent } }).text()).toBe(
      "bank.example",
    );
    await until(() => counted(mesh, "inmesh.calls", { outcome: "success" }) === 2);
    expect(names).toEqual(["svc", "svc"]);
    await expect(client.get("https://distrusted/x")).rejects.toThrow(/certificate|tls/i);
    expect(names).toHaveLength(2);
  });

  it("got 11, its own retries and timeouts included", async () => {
    let asked = 0;
    const { address } = await serve((_incoming, outgoing) => {
      outgoing.writeHead(++asked === 1 ? 500 : 200).end("text");
    });
    const mesh = doorsOf([address]);
    const body = await got
      .default("http://orders/x", {
        agent: { http: mesh.agent() },
        retry: { limit: 1, calculateDelay: ({ attemptCount }) => (attemptCount > 1 ? 0 : 1) },
        timeout: { request: 5_000, connect: 1_000 },
      })
      .text();
    expect(body).toBe("text");
    await until(() => counted(mesh, "inmesh.calls") === 2);
    expect(counted(mesh, "inmesh.calls", { outcome: "failure" })).toBe(1);
  });
});
