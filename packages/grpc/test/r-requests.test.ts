/**
 * R8: a caller's request stream that ends early or fails. It has the status that it has with grpc-js
 * alone, and its endpoint, which waits for the rest, is not charged with it.
 */
import { Readable, type Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import {
  Metadata,
  status as Status,
  type ClientWritableStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { describe, expect, it, onTestFinished } from "vitest";
import { counted, get, open, type Bench } from "./support/bench.ts";
import type { Order, OrdersClient, OrdersHandlers } from "./support/orders.ts";
import { bareClient } from "./support/served.ts";
import { endpointOf } from "./support/wire.ts";

/** Above the time that the shortest of timeouts must have lasted to be charged. */
const DEADLINE_MS = 150;
/** As many in a row open a breaker. */
const CALLS = 10;
const MAX_TRIES = 10;

type Stream = ClientWritableStream<Order>;

/** From a generator: what is thrown destroys the call's stream. */
function fed(call: Stream, thrown: unknown): void {
  const orders = function* (): Generator<Order> {
    yield { count: 1 };
    throw thrown;
  };
  pipeline(Readable.from(orders()), call as unknown as Writable).catch(() => {});
}

const ways: readonly (readonly [name: string, way: (call: Stream) => void, code: number])[] = [
  ["destroyed", (call) => call.destroy(), Status.DEADLINE_EXCEEDED],
  ["destroyed with an error", (call) => call.destroy(new Error("x")), Status.DEADLINE_EXCEEDED],
  [
    "destroyed after a message",
    (call) => call.write({ count: 1 }, () => call.destroy()),
    Status.DEADLINE_EXCEEDED,
  ],
  ["of a generator that throws", (call) => fed(call, new Error("x")), Status.DEADLINE_EXCEEDED],
  [
    "of a generator that throws undefined",
    (call) => fed(call, undefined),
    Status.DEADLINE_EXCEEDED,
  ],
  ["of a generator that throws 0", (call) => fed(call, 0), Status.DEADLINE_EXCEEDED],
  ["never ended", (call) => void call.write({ count: 1 }), Status.DEADLINE_EXCEEDED],
  ["that cannot be serialised", (call) => void call.write(5 as never), Status.INTERNAL],
  [
    "whose second message cannot be serialised",
    (call) => call.write({ count: 1 }, () => call.write(Symbol("x") as never)),
    Status.INTERNAL,
  ],
  [
    "cancelled after a message",
    (call) => call.write({ count: 1 }, () => (call as unknown as { cancel(): void }).cancel()),
    Status.CANCELLED,
  ],
];

function run(client: OrdersClient, kind: "add" | "chat", way: (call: Stream) => void) {
  return new Promise<ServiceError | { code: number }>((resolve) => {
    const options = { deadline: Date.now() + DEADLINE_MS };
    const call: Stream =
      kind === "add"
        ? client.add(new Metadata(), options, () => {})
        : client.chat(new Metadata(), options);
    call.on("error", () => {});
    call.on("status", resolve);
    if (kind === "chat") (call as unknown as Readable).resume();
    way(call);
  });
}

async function bench(handlers: Partial<OrdersHandlers> = {}): Promise<Bench> {
  const one = await open(handlers);
  onTestFinished(() => one.close());
  await get(one.client, {});
  return one;
}

describe.each(["add", "chat"] as const)("R8 GC: a request stream of %s", (kind) => {
  it.for(ways)("R8 GC: %s: as with grpc-js, and no endpoint is charged", async ([, way, code]) => {
    const { client, mesh, servers } = await bench();
    const { address } = servers[0]!;
    const bare = bareClient(address);
    expect((await run(bare, kind, way)).code).toBe(code);
    bare.close();
    const latencyMs = endpointOf(mesh, address).latencyMs;
    const all = await Promise.all(Array.from({ length: CALLS }, () => run(client, kind, way)));
    expect(all.map((status) => status.code)).toEqual(Array.from({ length: CALLS }, () => code));
    for (const outcome of ["failure", "timeout", "overloaded"]) {
      expect(counted(mesh, "inmesh.attempts", { outcome })).toBe(0);
    }
    expect(endpointOf(mesh, address)).toMatchObject({
      inFlight: 0,
      breaker: { state: "closed", consecutiveFailures: 0 },
    });
    // A cancelled call may have been given up for being slow; the others waited for their caller.
    if (code === Status.DEADLINE_EXCEEDED) {
      expect(endpointOf(mesh, address).latencyMs).toBeLessThan(latencyMs + DEADLINE_MS / 2);
    }
    expect((await get(client, { count: 1 })).count).toBe(2);
  });

  it("R8 GC: the whole request is there, and no answer: that is the endpoint's", async () => {
    const { client, mesh } = await bench({ add: () => {}, chat: (call) => void call.resume() });
    // A timeout by this side's clock; a failure if the server is first to say so.
    const charged = (): number =>
      counted(mesh, "inmesh.attempts", { outcome: "timeout" }) +
      counted(mesh, "inmesh.attempts", { outcome: "failure" });
    // A deadline that this process missed because it was held up is not charged, so it is tried again.
    for (let tries = 0; charged() === 0 && tries < MAX_TRIES; tries++) {
      const { code } = await run(client, kind, (call) => void call.end({ count: 1 }));
      expect(code).toBe(Status.DEADLINE_EXCEEDED);
    }
    expect(charged()).toBe(1);
  });
});
