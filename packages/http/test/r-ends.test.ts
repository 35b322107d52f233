/** Row R7: the end of a connection belongs to that connection, at every door. */
import { once } from "node:events";
import { createServer, request as nodeRequest, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { FaultConnection } from "@inmesh/core/testing";
import { meshClient, type HttpMesh } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { Recorded, doorsOf } from "./support/doors.ts";
import { folder } from "./support/folders.ts";
import { failureOf, peerOf, sleep, until } from "./wire.ts";

/** What the caller gets: the whole body, or an error. */
type Door = (mesh: HttpMesh, method: string, path: string) => Promise<string>;

const doors: readonly (readonly [string, Door])[] = [
  [
    "meshClient",
    async (mesh, method, path) =>
      (await meshClient("orders", { mesh }).fetch(path, { method })).text(),
  ],
  [
    "mesh.dispatcher",
    async (mesh, method, path) => {
      const recorded = new Recorded(mesh.dispatcher, { method: method as "GET", path });
      const error = await recorded.over;
      if (error !== undefined) throw error as Error;
      return recorded.text;
    },
  ],
  [
    "mesh.fetch",
    async (mesh, method, path) => (await mesh.fetch(`http://orders${path}`, { method })).text(),
  ],
  [
    "mesh.agent()",
    async (mesh, method, path) => {
      const sent = nodeRequest({ agent: mesh.agent(), host: "orders", port: 80, method, path });
      // node:http tells a reset on the request, and ends a reply without a length all the same.
      const failed = new Promise<never>((_, reject) => void sent.on("error", reject));
      sent.end();
      const [reply] = (await Promise.race([once(sent, "response"), failed])) as [IncomingMessage];
      return Promise.race([text(reply), failed]);
    },
  ],
];

/** Waits until `count` requests of all connections have come, so that they overlap for certain. */
function barrier(count: number): () => Promise<void> {
  let come = 0;
  let open!: () => void;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return () => {
    if (++come === count) open();
    return opened;
  };
}

function breakerOf(mesh: HttpMesh): unknown {
  return mesh.snapshot().services[0]!.endpoints[0]!.breaker.state;
}

describe.each(doors)("R7 LC: %s", (_door, call) => {
  it("eight replies at once that only the close ends are all whole", async () => {
    const all = barrier(8);
    const peer = await peerOf(async (connection) => {
      const { head } = await connection.readRequest();
      await all();
      const [, path] = head.split(" ");
      await connection.write(`HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n${path}`);
      await connection.pause(5 * connection.number);
      await connection.write("!");
      connection.fin();
    });
    const mesh = doorsOf([peer.address], { breaker: { consecutiveFailures: 1 } });
    const paths = Array.from({ length: 8 }, (_, i) => `/${i}`);
    expect(await Promise.all(paths.map((path) => call(mesh, "GET", path)))).toEqual(
      paths.map((path) => `${path}!`),
    );
    expect(peer.connections).toBe(8);
    expect(breakerOf(mesh)).toBe("closed");
  });

  it("a long reply without a length goes on while other connections close or are reset", async () => {
    const peer = await peerOf(async (connection) => {
      const { head } = await connection.readRequest();
      const [, path] = head.split(" ");
      if (path === "/long") {
        await connection.write("HTTP/1.1 200 OK\r\n\r\n");
        for (let i = 0; i < 10; i++) {
          await connection.write(`${i}`);
          await connection.pause(10);
        }
        return connection.fin();
      }
      await connection.write(
        "HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 9\r\n\r\nshort",
      );
      if (path === "/cut") return connection.rst();
      await connection.write("once");
      connection.fin();
    });
    const mesh = doorsOf([peer.address], { breaker: { consecutiveFailures: 100 } });
    const long = call(mesh, "GET", "/long");
    for (let i = 0; i < 4; i++) {
      expect(await call(mesh, "GET", "/short")).toBe("shortonce");
      await expect(call(mesh, "GET", "/cut")).rejects.toThrow();
    }
    expect(await long).toBe("0123456789");
  });

  it.each([
    ["HEAD", "200 OK"],
    ["GET", "204 No Content"],
    ["GET", "304 Not Modified"],
  ])("%s answered %s by eight connections that end at once does not fail", async (method, line) => {
    const all = barrier(8);
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await all();
      await connection.write(`HTTP/1.1 ${line}\r\n\r\n`);
      if (connection.number % 2 === 0) connection.rst();
      else connection.fin();
    });
    const mesh = doorsOf([peer.address], { breaker: { consecutiveFailures: 1 } });
    const calls = Array.from({ length: 8 }, () => call(mesh, method, "/"));
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 8 }, () => ""));
    expect(breakerOf(mesh)).toBe("closed");
  });

  it("a reset fails the reply of its own connection, and no other", async () => {
    const all = barrier(5);
    const peer = await peerOf(async (connection: FaultConnection) => {
      const { head } = await connection.readRequest();
      const [, path] = head.split(" ");
      await all();
      await connection.write("HTTP/1.1 200 OK\r\n\r\nsome");
      await connection.pause(20);
      if (path === "/cut") return connection.rst();
      await connection.pause(30);
      await connection.write("more");
      connection.fin();
    });
    const mesh = doorsOf([peer.address], { breaker: { consecutiveFailures: 100 } });
    const cut = expect(call(mesh, "GET", "/cut")).rejects.toThrow();
    const whole = Array.from({ length: 4 }, () => call(mesh, "GET", "/whole"));
    await cut;
    expect(await Promise.all(whole)).toEqual(Array.from({ length: 4 }, () => "somemore"));
  });
});

describe("R7 LC: connections by themselves", () => {
  it("a reply that waits for its reader is cut by the reset of its own connection only", async () => {
    const peer = await peerOf(async (connection) => {
      const { head } = await connection.readRequest();
      await connection.write(`HTTP/1.1 200 OK\r\n\r\n${"z".repeat(200_000)}`);
      if (head.startsWith("GET /cut")) connection.rst();
      else connection.fin();
    });
    const mesh = doorsOf([peer.address]);
    const client = meshClient("orders", { mesh });
    const whole = await client.fetch("/whole");
    const cut = await client.fetch("/cut");
    await sleep(100);
    expect(await whole.bytes()).toHaveLength(200_000);
    expect(await failureOf(cut.bytes())).toMatchObject({
      code: "connection_lost",
      reason: "reset_mid_response",
    });
  });

  it("a Unix socket's close ends a reply without a length", async () => {
    const path = join(folder(), "closing.sock");
    const server = createServer((_request, response) => {
      response.removeHeader("transfer-encoding");
      response.socket!.end("HTTP/1.1 200 OK\r\n\r\nwhole");
    });
    server.listen(path);
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const mesh = doorsOf([`unix:${path}`]);
    expect(await (await meshClient("orders", { mesh }).fetch("/")).text()).toBe("whole");
  });

  it("mesh.agent() keeps a connection for as long as the last reply on it said", async () => {
    const gone: number[] = [];
    const peer = await peerOf(async (connection) => {
      await connection.readRequest();
      await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
      await connection.readRequest();
      const hint = "keep-alive: timeout=3\r\n";
      await connection.write(`HTTP/1.1 200 OK\r\n${hint}content-length: 0\r\n\r\n`);
      const startedAt = performance.now();
      await connection.hold();
      gone.push(performance.now() - startedAt);
    });
    const mesh = doorsOf([peer.address]);
    const [, agent] = doors.at(-1)!;
    await agent(mesh, "GET", "/");
    await sleep(20);
    await agent(mesh, "GET", "/");
    await until(() => gone.length === 1);
    // Two seconds less than the server says.
    expect(gone[0]).toBeGreaterThan(900);
    expect(gone[0]).toBeLessThan(2_500);
    expect(peer.connections).toBe(1);
  });
});
