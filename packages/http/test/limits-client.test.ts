/** What a server may cost one of our clients, at each limit, one above it, and far above it. */
import { get as httpGet } from "node:http";
import { AheadRuntime } from "@inmesh/core/testing";
import type { MeshClient } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { doorsOf } from "./support/doors.ts";
import { data, frame, h2Peer, head, ok, settings } from "./support/h2-peer.ts";
import {
  answering,
  clientOf,
  counted,
  failureOf,
  peerOf,
  serve,
  sleep,
  until,
  OK,
} from "./wire.ts";

const ONCE = { retry: { attempts: 1 } };

/** undici has a connection free again some turns after the end of a reply. */
async function text(client: MeshClient): Promise<string> {
  const body = await (await client.fetch("/")).text();
  await sleep(5);
  return body;
}

describe("heads of replies", () => {
  it.each([
    [200, true],
    [201, false],
    [1_900, false],
  ])("H23 LC: %i fields over HTTP/1.1: accepted: %s", async (count, accepted) => {
    const fields = Array.from({ length: count - 1 }, (_, i) => `x-${i}: ${i}\r\n`).join("");
    const peer = await answering(`HTTP/1.1 200 OK\r\n${fields}content-length: 0\r\n\r\n`);
    const client = clientOf([peer.address], ONCE);
    if (accepted) {
      expect([...(await client.fetch("/")).headers]).toHaveLength(count);
      return;
    }
    const error = await failureOf(client.fetch("/"));
    expect(error).toMatchObject({ code: "bad_response", reason: "response_header_too_large" });
    expect(counted(client.mesh, "inmesh.attempts", { outcome: "failure" })).toBe(1);
  });

  it.each([
    [200, true],
    [201, false],
    [250, false],
    [2_000, false],
  ])("H23 LC: %i fields over HTTP/2: accepted: %s", async (count, accepted) => {
    const fields = Object.fromEntries(
      Array.from({ length: count - 1 }, (_, i) => [`x-${i}`, `${i % 10}`]),
    );
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      await connection.write(head(id, { ":status": "200", ...fields }), data(id, "ok", true));
    });
    const client = clientOf([peer.address], { http2: true, ...ONCE });
    if (accepted) expect(await text(client)).toBe("ok");
    else expect(await failureOf(client.fetch("/"))).toMatchObject({ code: "bad_response" });
  });

  it.each([
    [32, true],
    [33, false],
    [5_000, false],
  ])("H4 LC: %i interim replies: accepted: %s", async (count, accepted) => {
    const interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(count);
    const peer = await answering(interim + OK);
    const client = clientOf([peer.address], ONCE);
    if (accepted) expect(await text(client)).toBe("ok");
    else {
      expect(await failureOf(client.fetch("/"))).toMatchObject({ reason: "unexpected_1xx" });
    }
  });
});

describe("the age of connections", () => {
  it.each([
    ["HTTP/1.1", false],
    ["HTTP/2", true],
  ])("%s: an old one takes no new call, and ends when its calls have", async (_name, http2) => {
    const held: (() => void)[] = [];
    const peer = http2
      ? await h2Peer(async (connection) => {
          await connection.open(settings());
          for (let n = 0; ; n++) {
            const id = await connection.request();
            const answered = connection.write.bind(connection, ok(id, `${connection.number}`));
            if (connection.number === 1 && n === 1) held.push(() => void answered());
            else await answered();
          }
        })
      : await peerOf(async (connection) => {
          for (let n = 0; ; n++) {
            await connection.readRequest();
            if (connection.number === 1 && n === 1) {
              await new Promise<void>((resolve) => held.push(resolve));
            }
            await connection.write(
              `HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n${connection.number}`,
            );
          }
        });
    const runtime = new AheadRuntime();
    // A gap of five seconds would be one in which the process stood still.
    const input = { http2, limits: { maxConnectionAgeMs: 4_000 } };
    const client = clientOf([peer.address], input, { runtime });
    expect(await text(client)).toBe("1");
    const slow = text(client);
    await until(() => held.length === 1);
    runtime.aheadMs = 3_500; // younger than the earliest end
    if (http2) expect(await text(client)).toBe("1");
    runtime.aheadMs = 4_500; // older than the latest
    expect(await text(client)).toBe("2");
    expect(await text(client)).toBe("2");
    expect(peer.open).toBe(2);
    held[0]!();
    expect(await slow).toBe("1");
    await until(() => peer.open === 1, 5_000);
    expect(await text(client)).toBe("2");
    expect(peer.connections).toBe(2);
  });

  it("limits.maxConnectionAge: a text in a file, none for never", async () => {
    for (const [maxConnectionAge, connections] of [
      ["10s", 3],
      ["none", 1],
    ] as const) {
      const peer = await answering(OK);
      const runtime = new AheadRuntime();
      const client = clientOf([peer.address], { limits: { maxConnectionAge } }, { runtime });
      for (let i = 0; i < 24; i++) {
        await text(client);
        runtime.aheadMs += 1_000;
      }
      expect(peer.connections).toBe(connections);
    }
  });

  it("a connection that an agent checked out is not kept when it is old", async () => {
    const served = await serve((_request, response) => response.end("ok"));
    const runtime = new AheadRuntime();
    const mesh = doorsOf([served.address], { limits: { maxConnectionAgeMs: 10_000 } }, { runtime });
    const agent = mesh.agent();
    for (let i = 0; i < 18; i++) {
      await new Promise<void>((resolve, reject) => {
        httpGet("http://orders/", { agent }, (response) =>
          response.resume().on("close", resolve),
        ).on("error", reject);
      });
      runtime.aheadMs += 1_000;
    }
    expect(served.connections).toBe(2);
  });
});

it("G13 LC: a flood of ORIGIN and ALTSVC frames costs no memory, and no call its reply", async () => {
  const flood = Buffer.concat(
    Array.from({ length: 1_000 }, (_, i) =>
      Buffer.concat([
        frame(12, 0, 0, Buffer.from(`\0\x0fhttp://s${String(i).padStart(7, "0")}`)),
        frame(10, 0, 0, Buffer.from(`\0\x0bhttp://s${i % 10}/h2=":1"`)),
      ]),
    ),
  );
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    for (;;) {
      const id = await connection.request();
      for (let i = 0; i < 10; i++) await connection.write(flood);
      await connection.write(ok(id));
    }
  });
  const client = clientOf([peer.address], { http2: true });
  const suffer = async (): Promise<void> => {
    for (let i = 0; i < 5; i++)
      await client.fetch("/").then(
        (reply) => reply.text(),
        () => {},
      );
  };
  await suffer();
  const before = process.memoryUsage().heapUsed;
  await suffer();
  await suffer();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(40 << 20);
});
