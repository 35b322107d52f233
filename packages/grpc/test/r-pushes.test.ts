/**
 * Row R41 over the gRPC client: streams that a server pushes, which no gRPC server does, and frames that break
 * the rules. grpc-js takes pushed streams and listens to none, so the next error of their connection was an
 * uncaught exception.
 */
import { expect, it, onTestFinished } from "vitest";
import {
  block,
  data,
  frame,
  h2Peer,
  head,
  PING,
  END_HEADERS,
  RST_STREAM,
  words,
  type H2Connection,
} from "../../http/test/support/h2-peer.ts";
import { get } from "./support/bench.ts";
import { answerAll, ok } from "./support/frames.ts";
import { clientOf, failed, sleep } from "./support/wire.ts";

const PUSH_PROMISE = 5;
const REFUSED_STREAM = 7;
const REQUEST = { ":method": "POST", ":scheme": "http", ":path": "/x", ":authority": "a" };

const push = (id: number, promised: number): Buffer =>
  frame(PUSH_PROMISE, END_HEADERS, id, Buffer.concat([words(promised), block(REQUEST)]));

/** Errors that nothing in this process caught. */
function uncaught(): unknown[] {
  const errors: unknown[] = [];
  const note = (error: unknown): void => void errors.push(error);
  process.on("uncaughtException", note);
  onTestFinished(() => void process.off("uncaughtException", note));
  return errors;
}

const ENDS: readonly [string, (connection: H2Connection) => Promise<void> | void][] = [
  ["a reset", (connection) => connection.raw.rst()],
  ["a frame that breaks the rules", (connection) => connection.write(frame(PING, 0, 0))],
];

it.each(ENDS)("R41 GC: a push, then the connection ends by %s: one call fails", async (_, end) => {
  const errors = uncaught();
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    if (connection.number > 1) return answerAll(connection);
    await connection.write(push(await connection.request(), 2));
    await sleep(20);
    await end(connection);
  });
  const { client } = clientOf([peer.address], {
    routes: [{ name: "all", retry: { attempts: 1 } }],
  });
  expect((await failed(get(client, { id: "1" }))).code).toBeGreaterThan(0);
  expect((await get(client, { id: "2" })).id).toBe("x");
  await sleep(20);
  expect(errors).toEqual([]);
});

it("R41 GC: calls that begin as their connection breaks the rules fail, and none ends the process", async () => {
  // With channels of grpc-js's own this needs 1.14.5 (docs/reference/runtimes.md).
  const errors = uncaught();
  const codes: number[] = [];
  for (let i = 0; i < 10; i++) {
    const peer = await h2Peer(async (connection) => {
      await connection.open();
      await connection.request();
      await connection.write(frame(PING, 0, 0));
    });
    const { client } = clientOf([peer.address], {
      routes: [{ name: "all", retry: { attempts: 1 } }],
    });
    const first = failed(get(client, { id: "1" }));
    // In the turn in which the first one fails its connection is about to go.
    const second = first.then(() => failed(get(client, { id: "2" })));
    codes.push((await first).code, (await second).code);
  }
  expect(codes.every((code) => code > 0)).toBe(true);
  await sleep(20);
  expect(errors).toEqual([]);
});

it("R41 GC: a pushed stream is refused, and the call beside it is answered", async () => {
  let refusal: { id: number; payload: Buffer } | undefined;
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    const id = await connection.request();
    await connection.write(push(id, 2), head(2, { ":status": "200" }), data(2, "poison"));
    refusal = await connection.until(RST_STREAM);
    await connection.write(ok(id));
  });
  const { client } = clientOf([peer.address]);
  expect((await get(client, { id: "1" })).id).toBe("x");
  expect(refusal).toMatchObject({ id: 2, payload: words(REFUSED_STREAM) });
});
