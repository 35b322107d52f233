/** Section G of the fault matrix, mesh-proxy between gRPC peers: what it reads of their messages and fields, and what it leaves alone. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { H2Client } from "../../http/test/support/h2-client.ts";
import { h2Peer, head, HEADERS, type H2Connection } from "../../http/test/support/h2-peer.ts";
import { HeadFields, HpackDecoder } from "../src/http2/hpack-decoder.ts";
import type { HpackField } from "../src/http2/hpack-fields.ts";
import { ask2, client2, open2, origin2, type Reply } from "./support/http2.ts";
import { proxied } from "./support/proxied.ts";

const CALL = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };
const HEAD = { ":status": "200", "content-type": "application/grpc" };
const MIB = 1 << 20;

/** A message with its prefix; `length`: what the prefix says. */
function framed(bytes: Buffer, flag = 0, length: number = bytes.length): Buffer {
  const prefix = Buffer.alloc(5);
  prefix[0] = flag;
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, bytes]);
}

async function before(address: string, more: object = {}) {
  const services = { orders: { http2: true, discovery: { static: [address] }, ...more } };
  const one = await proxied(services, { spoken: "http2" });
  const session = client2(one.port);
  const call = (fields: Record<string, string> = {}): Promise<Reply> =>
    ask2(session, { ...CALL, ...fields }, framed(Buffer.from("x")));
  return { ...one, session, call };
}

/** Answers each call with a status and nothing else. */
async function refusing(fields: Record<string, string>) {
  const calls: number[] = [];
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    for (;;) {
      const id = await connection.request();
      calls.push(performance.now());
      await connection.write(head(id, { ...HEAD, ...fields }, true));
    }
  });
  return { address: peer.address, calls };
}

/** Its routes may be sent again. */
const vouched = {
  routes: [{ name: "vouched", idempotent: true }],
  retry: { attempts: 2, backoff: "1ms", maxBackoff: "2ms" },
  retryBudget: { minPerSecond: 100 },
  breaker: { consecutiveFailures: 0, successRatio: 0 },
};

describe("types", () => {
  it("one of gRPC-Web is HTTP: its status stands in its body, and none in its head is no failure", async () => {
    const origin = await origin2((stream, headers) => {
      stream.respond({ ":status": 200, "content-type": headers["content-type"] });
      stream.end("body and status");
    });
    const { call, mesh } = await before(origin.address);
    const types = ["application/grpc-web+proto", "application/grpc-web-text", "application/json"];
    const seen: string[] = [];
    const tap = mesh.tap({ limit: 2 * (types.length + 2) });
    const reading = (async () => {
      for await (const event of tap) {
        if (event.event !== "call" || event.direction !== "outbound") continue;
        seen.push(`${event.protocol} ${event.outcome}`);
      }
    })();
    for (const type of types)
      expect((await call({ "content-type": type })).body.toString()).toBe("body and status");
    // Of these no status has come, which is a failure of the server.
    for (const type of ["application/grpc+proto", "application/grpc; charset=utf-8"]) {
      await call({ "content-type": type });
    }
    await reading;
    expect(seen).toEqual([...types.map(() => "http success"), "grpc failure", "grpc failure"]);
  });
});

describe("messages", () => {
  it("G6 P22: one that is larger than anyone takes goes on as it comes: it is never put together", async () => {
    const got: Buffer[] = [];
    const origin = await origin2((stream) => {
      stream.respond(HEAD);
      stream.on("data", (chunk: Buffer) => got.push(chunk));
      stream.write(framed(Buffer.alloc(1_000, "r"), 0, 0xffff_ffff));
    });
    const { session } = await before(origin.address);
    const stream = open2(session, CALL);
    const replied: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => replied.push(chunk));
    stream.write(framed(Buffer.alloc(100_000, "q"), 0, 0xffff_ffff));
    // Neither has ended, and neither ever could.
    const sizeOf = (pieces: readonly Buffer[]): number => Buffer.concat(pieces).length;
    await expect.poll(() => [sizeOf(got), sizeOf(replied)]).toEqual([100_005, 1_005]);
    stream.close(8);
  });

  it("G6 P22: one of 32 MiB, and a compressed one, arrive byte for byte, with what is held of them bounded", async () => {
    const large = framed(Buffer.alloc(32 * MIB, "z"));
    const bomb = framed(gzipSync(Buffer.alloc(64 * MIB)), 1);
    const sizes: string[] = [];
    const origin = await origin2((stream, headers) => {
      const hash = createHash("sha256");
      stream.on("data", (chunk: Buffer) => hash.update(chunk));
      stream.on("end", () => {
        sizes.push(`${headers["grpc-encoding"]} ${hash.digest("hex")}`);
        stream.respond({ ...HEAD, "grpc-status": "0" }, { endStream: true });
      });
    });
    const { session } = await before(origin.address);
    for (const [encoding, body] of [
      ["identity", large],
      ["gzip", bomb],
    ] as const) {
      const reply = await ask2(session, { ...CALL, "grpc-encoding": encoding }, body);
      expect(reply.headers["grpc-status"]).toBe("0");
      const sum = createHash("sha256").update(body).digest("hex");
      expect(sizes.at(-1)).toBe(`${encoding} ${sum}`);
    }
  });
});

describe("pushback", () => {
  it.each([
    ["a number is waited for", "60", 2, 55],
    ["below zero: none", "-1", 1, 0],
    ["garbage: none", "soon", 1, 0],
    ["a fraction: none", "1.5", 1, 0],
    ["beyond the deadline: the failure goes back at once", "60000", 1, 0],
    ["beyond all numbers: the same", "99999999999999999999", 1, 0],
  ])(
    "G14 P22: %s; and the client gets it as it was said",
    async (_, pushback, count, atLeastMs) => {
      const { address, calls } = await refusing({
        "grpc-status": "14",
        "grpc-retry-pushback-ms": pushback,
      });
      const { call } = await before(address, vouched);
      const { headers } = await call({ "grpc-timeout": "5S" });
      expect(headers).toMatchObject({ "grpc-status": "14", "grpc-retry-pushback-ms": pushback });
      expect(calls).toHaveLength(count);
      expect(calls.at(-1)! - calls[0]!).toBeGreaterThanOrEqual(atLeastMs);
    },
  );

  it("G14 P22: a call that no one vouches for is not sent again, whatever the server asks for", async () => {
    const { address, calls } = await refusing({
      "grpc-status": "14",
      "grpc-retry-pushback-ms": "1",
    });
    const { call } = await before(address, { retry: vouched.retry });
    expect((await call()).headers["grpc-retry-pushback-ms"]).toBe("1");
    expect(calls).toHaveLength(1);
  });
});

/** The fields of the request whose head came last. */
function fieldsOf({ frames }: H2Connection): HpackField[] {
  const fields = new HeadFields();
  const { payload } = frames.findLast(({ type }) => type === HEADERS)!;
  const limits = { maxBytes: 100_000, maxCount: 1_000 };
  new HpackDecoder().decode(payload, 0, payload.length, fields, limits);
  return fields.list;
}

describe("fields that are malformed", () => {
  it.each(["123456789S", "5", "x", "m", "-5S", "5 S", "1.5S"])(
    "G18 P22: a grpc-timeout of %j goes on as it is, and the proxy sets no other",
    async (timeout) => {
      const seen: string[] = [];
      const peer = await h2Peer(async (connection) => {
        await connection.open();
        const id = await connection.request();
        for (const { name, value } of fieldsOf(connection)) {
          if (name === "grpc-timeout") seen.push(value);
        }
        await connection.write(head(id, { ...HEAD, "grpc-status": "13" }, true));
      });
      const { call } = await before(peer.address);
      // The other deadline holds here, and is not said in its place.
      const fields = { "grpc-timeout": timeout, "x-mesh-timeout-ms": "5000" };
      expect((await call(fields)).headers["grpc-status"]).toBe("13");
      expect(seen).toEqual([timeout]);
    },
  );

  it.each([
    ["a word as status", { "grpc-status": "x" }],
    ["a status that is none", { "grpc-status": "99" }],
    ["an empty status", { "grpc-status": "" }],
    ["a status below zero", { "grpc-status": "-1" }],
  ])("G18 P22: %s goes on as it is, and is a failure of its server", async (_, fields) => {
    const { address } = await refusing({ ...fields, "grpc-message": "50%zz", "x-bin": "%%%" });
    const { call, mesh } = await before(address);
    const { headers } = await call();
    expect(headers).toMatchObject({ ...fields, "grpc-message": "50%zz", "x-bin": "%%%" });
    expect(outcomes(mesh)).toEqual({ failure: 1 });
  });

  it("G18 P22: two statuses go on as they are, and are a failure of their server", async () => {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      const id = await connection.request();
      const two = head(id, { ...HEAD, "grpc-status": "0", "GRPC-STATUS": "0" }, true);
      // The peer's writer takes names from an object: the second one gets its right name here.
      const at = two.indexOf("GRPC-STATUS");
      two.write("grpc-status", at);
      await connection.write(two);
    });
    const { port, mesh } = await before(peer.address);
    const client = await H2Client.to(port);
    const fields = { ":scheme": "http", ":path": "/t.T/M", ":authority": "orders", ...CALL };
    client.send(head(1, fields, true));
    const got = await client.until(({ id, type }) => id === 1 && type === HEADERS, "the reply");
    const read = new HeadFields();
    const limits = { maxBytes: 100_000, maxCount: 1_000 };
    new HpackDecoder().decode(got.payload, 0, got.payload.length, read, limits);
    expect(
      read.list.filter(({ name }) => name === "grpc-status").map(({ value }) => value),
    ).toEqual(["0", "0"]);
    await expect.poll(() => outcomes(mesh)).toEqual({ failure: 1 });
  });

  it("G18 P22: metadata that is no base64, and a message that cannot be decoded, go on in requests too", async () => {
    let got: Record<string, unknown> = {};
    const origin = await origin2((stream, headers) => {
      got = headers;
      stream.resume();
      stream.respond({ ...HEAD, "grpc-status": "0" }, { endStream: true });
    });
    const { call } = await before(origin.address);
    expect((await call({ "k-bin": "!!!", "grpc-message": "%zz" })).headers["grpc-status"]).toBe(
      "0",
    );
    expect(got).toMatchObject({ "k-bin": "!!!", "grpc-message": "%zz" });
  });
});

/** Attempts by outcome. */
function outcomes(mesh: { metrics(): readonly any[] }): Record<string, number> {
  const found = mesh.metrics().filter(({ name }) => name === "inmesh.attempts");
  return Object.fromEntries(found.map(({ labels, value }) => [labels.outcome, value]));
}
