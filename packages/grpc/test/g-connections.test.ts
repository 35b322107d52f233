/** Section G of the fault matrix, gRPC client: connections that end, and unknown frames. */
import type { MeshError } from "@inmesh/core/spi";
import { expect, it, onTestFinished } from "vitest";
import { goaway, h2Peer, oddPeer } from "../../http/test/support/h2-peer.ts";
import { counted, get } from "./support/bench.ts";
import { answerAll, ok } from "./support/frames.ts";
import { answer, ScriptedServer } from "./support/scripted-server.ts";
import { clientOf, failed, serverOf } from "./support/wire.ts";

const NO_ERROR = 0;
/** Says GOAWAY to every request, on every connection. */
function storm() {
  return h2Peer(async (connection) => {
    await connection.open();
    await connection.request();
    await connection.write(goaway(0, NO_ERROR));
  });
}

it("G2 GC: GOAWAY(0) on every connection: few dials, and the error says so", async () => {
  const peer = await storm();
  const { client } = clientOf([peer.address]);
  const startedAt = performance.now();
  const errors = await Promise.all(
    Array.from({ length: 20 }, () => failed(get(client, {}, { deadline: Date.now() + 700 }))),
  );
  for (const { cause } of errors) {
    const { reason, progress } = cause as MeshError;
    expect(["goaway", "queue_wait", "call_deadline", "reset_before_response"]).toContain(reason);
    // Its connection had ended before grpc-js began its stream.
    if (reason === "reset_before_response") expect(progress).toBe("not-sent");
  }
  // At once, again at once, then at most ten a second.
  const seconds = Math.ceil((performance.now() - startedAt) / 1_000);
  expect(peer.connections).toBeLessThanOrEqual(2 + 10 * seconds);
});

it("G2 GC: calls beside it are answered by another endpoint", async () => {
  const [peer, other] = [await storm(), await serverOf()];
  const { client, mesh } = clientOf([peer.address, other.address]);
  for (let i = 0; i < 10; i++) await Promise.all([1, 2, 3, 4].map(() => get(client, {})));
  expect(other.calls).toBe(40);
  expect(peer.connections).toBeGreaterThan(0);
  expect(counted(mesh, "inmesh.call.active")).toBe(0);
});

it("G2 GC: it is in use again when it has stopped, and who waited for it is answered", async () => {
  const peer = await h2Peer(async (connection) => {
    await connection.open();
    if (connection.number > 2) return answerAll(connection);
    await connection.request();
    await connection.write(goaway(0, NO_ERROR));
  });
  const { client } = clientOf([peer.address], { retryBudget: { minPerSecond: 100 } });
  const replies = await Promise.all(Array.from({ length: 10 }, () => get(client, {})));
  expect(replies.map(({ id }) => id)).toEqual(replies.map(() => "x"));
  // A further one, where a call met the second just before its end.
  expect([3, 4]).toContain(peer.connections);
});

it("G12 GC: a server that ends its connections every 200 ms loses no call", async () => {
  let sessions = 0;
  const server = await ScriptedServer.start((stream) => {
    setTimeout(() => !stream.destroyed && answer(stream, Buffer.alloc(0)), 5);
  });
  onTestFinished(() => server.close());
  server.onSession = (session) => {
    sessions++;
    setTimeout(() => !session.destroyed && session.close(), 200);
  };
  const { client } = clientOf([server.address]);
  const endsAt = performance.now() + 1_500;
  const errors: string[] = [];
  let answered = 0;
  const worker = async (): Promise<void> => {
    while (performance.now() < endsAt) {
      await get(client, {}).then(
        () => answered++,
        (error: unknown) => errors.push(String(error)),
      );
    }
  };
  await Promise.all(Array.from({ length: 10 }, worker));
  expect(errors).toEqual([]);
  expect(answered).toBeGreaterThan(100);
  expect(sessions).toBeGreaterThan(3);
});

it("G13 GC: PRIORITY, unknown frames and settings, ORIGIN and ALTSVC change nothing", async () => {
  const peer = await oddPeer(ok, answerAll);
  const { client } = clientOf([peer.address]);
  for (let i = 0; i < 3; i++) expect((await get(client, {})).id).toBe("x");
  expect(peer.connections).toBe(1);
});
