/** A route's changes of headers in the pipeline: who sees them, how often, and from when on. */
import { expect, it } from "vitest";
import { Call } from "../call.ts";
import type { RouteInput } from "../config/input.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import {
  StubRequest,
  stubProtocol,
  type StubExchange,
  type StubReply,
} from "../testing/stub-transport.ts";
import { headerChanges } from "./header-changes.ts";

const MARK: RouteInput = {
  name: "marked",
  matches: [{ headers: [{ name: "x-tier", value: "gold" }] }],
  retry: { attempts: 3 },
  filters: [
    {
      requestHeaderModifier: {
        set: [{ name: "x-tier", value: "7" }],
        add: [{ name: "x-seen", value: "route" }],
        remove: ["x-debug"],
      },
    },
    { responseHeaderModifier: { add: [{ name: "x-by", value: "route" }] } },
  ],
};

function setUp(routes: readonly RouteInput[]) {
  const runtime = new SimRuntime(3);
  const config = (list: readonly RouteInput[]) => ({
    services: { orders: { discovery: { static: ["10.0.0.1:80", "10.0.0.2:80"] }, routes: list } },
  });
  const mesh = createMesh({ env: {}, runtime, config: config(routes) });
  const exchanges: StubExchange[] = [];
  const service = mesh.service(
    "orders",
    stubProtocol((one) => void exchanges.push(one)),
  );
  const send = (headers: Record<string, string>): Promise<StubReply> =>
    service.current(new Call("orders", new StubRequest("/", "GET", headers), true, true));
  return {
    exchanges,
    send,
    runtime,
    update: (list: readonly RouteInput[]) => mesh.update(config(list)),
    sent: () => exchanges.map(({ attempt }) => attempt.call.request.headers),
  };
}

const GOLD = { "x-tier": "gold", "x-debug": "1", "x-seen": "caller" };
const CHANGED = { "x-tier": "7", "x-seen": "caller, route" };

it("what the caller sent is matched, every attempt sends it changed once, and one reply is", async () => {
  const { exchanges, send, sent, runtime } = setUp([MARK]);
  const replied = send(GOLD);
  exchanges[0]!.reply("failure", 503);
  await runtime.advance(1_000);
  exchanges[1]!.reply("failure", 503);
  await runtime.advance(1_000);
  exchanges[2]!.reply();
  const reply = await replied;
  expect(sent()).toEqual([CHANGED, CHANGED, CHANGED]);
  expect([reply.code, reply.headers]).toEqual([200, { "x-by": "route" }]);
});

it("the reply of the last attempt is changed too when there is no better", async () => {
  const { exchanges, send, runtime } = setUp([{ ...MARK, retry: { attempts: 1 } }]);
  const replied = send(GOLD);
  exchanges[0]!.reply("failure", 503);
  await runtime.advance(0);
  expect((await replied).headers).toEqual({ "x-by": "route" });
});

it("calls that another route or none takes keep what they have", async () => {
  const { exchanges, send, sent } = setUp([MARK]);
  const replied = send({ "x-tier": "silver", "x-debug": "1" });
  exchanges[0]!.reply();
  expect((await replied).headers).toEqual({});
  expect(sent()).toEqual([{ "x-tier": "silver", "x-debug": "1" }]);
});

it("a call that began before a change of configuration keeps its filters to the end", async () => {
  const { exchanges, send, sent, runtime, update } = setUp([MARK]);
  const before = send(GOLD);
  update([
    {
      ...MARK,
      filters: [
        { requestHeaderModifier: { remove: ["x-tier"] } },
        { responseHeaderModifier: { add: [{ name: "x-by", value: "new" }] } },
      ],
    },
  ]);
  const after = send(GOLD);
  exchanges[0]!.reply("failure", 503);
  await runtime.advance(1_000);
  for (const exchange of exchanges) exchange.reply();
  expect((await before).headers).toEqual({ "x-by": "route" });
  expect((await after).headers).toEqual({ "x-by": "new" });
  const { "x-tier": _, ...untiered } = GOLD;
  expect(sent()).toEqual([CHANGED, untiered, CHANGED]);
});

it("layers of calls see what the caller sent and gets, layers of attempts what is sent and comes", async () => {
  const seen: unknown[] = [];
  type Heads = { readonly headers: Readonly<Record<string, string>> };
  const runtime = new SimRuntime(3);
  const mesh = createMesh({
    env: {},
    runtime,
    config: {
      services: { orders: { discovery: { static: ["10.0.0.1:80"] }, routes: [MARK] } },
    },
    callLayers: [
      (inner) => async (call) => {
        seen.push((call.request as Heads).headers);
        const reply = await inner(call);
        seen.push((reply as unknown as Heads).headers);
        return reply;
      },
    ],
    attemptLayers: [
      (inner) => async (attempt) => {
        seen.push((attempt.call.request as Heads).headers);
        const reply = await inner(attempt);
        seen.push((reply as unknown as Heads).headers);
        return reply;
      },
    ],
  });
  const service = mesh.service(
    "orders",
    stubProtocol(({ reply }) => reply()),
  );
  await service.current(new Call("orders", new StubRequest("/", "GET", GOLD), true, true));
  expect(seen).toEqual([GOLD, CHANGED, {}, { "x-by": "route" }]);
});

it("a route without filters has no layer for them", () => {
  expect(headerChanges([])).toEqual([]);
});
