/** Identity sources from outside, at clients and servers of gRPC: rotation, and whom they accept. */
import { status as Status } from "@grpc/grpc-js";
import {
  context,
  ServedRequest,
  type IdentitySource,
  type LogLine,
  type ServerPeer,
} from "@inmesh/core";
import {
  createMesh,
  meshGrpcServer,
  type GrpcServerOptions,
  type MeshGrpcServer,
} from "@inmesh/grpc";
import { expect, it, onTestFinished } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { CART, GivenIdentity, idsOf, only, ORDERS } from "../../http/test/support/identity.ts";
import { get } from "./support/bench.ts";
import { OrdersServer, type OrdersHandlers } from "./support/orders.ts";
import { clientOf, failed, sleep, until, type Caller } from "./support/wire.ts";

const ca = new TestCa();
const idOf = idsOf(ca);

interface Pair extends Caller {
  readonly server: MeshGrpcServer;
}

async function pair(
  client: IdentitySource,
  server: IdentitySource,
  handlers: Partial<OrdersHandlers> = {},
  options: GrpcServerOptions = {},
  lines: LogLine[] = [],
): Promise<Pair> {
  const serving = createMesh({ env: {}, identities: [server], log: (line) => lines.push(line) });
  const made = meshGrpcServer({
    mesh: serving,
    limits: { maxLoopDelayMs: Infinity },
    discoveryWaitMs: 0,
    ...options,
    tls: { identity: server.name, requestCert: true, ...options.tls },
  });
  onTestFinished(async () => {
    await made.close(0);
    await serving.close(0);
  });
  const orders = new OrdersServer("a", handlers, made.server);
  const port = await made.listen("127.0.0.1:0");
  expect(orders.server).toBe(made.server);
  const caller = clientOf(
    [`127.0.0.1:${port}`],
    { scheme: "https", authority: "svc", tls: { identity: client.name } },
    { identities: [client] },
  );
  return { ...caller, server: made };
}

it("T1 GC, T1 GS: six rotations of sources without files on both sides under load: no failed call", async () => {
  const ours = new GivenIdentity("ours", idOf(CART), only(ORDERS));
  const theirs = new GivenIdentity("theirs", idOf(ORDERS), only(CART));
  const shown = new Set<string | undefined>();
  const one = await pair(ours, theirs, {
    get(_call, done) {
      shown.add(context.getStore()?.peer?.certificate?.fingerprint256);
      done(null, {});
    },
  });
  const load = { stopped: false };
  const failures: string[] = [];
  const workers = Array.from({ length: 4 }, async () => {
    while (!load.stopped) {
      await get(one.client, {}).catch((error: unknown) => failures.push(String(error)));
    }
  });
  for (let i = 0; i < 6; i++) {
    const before = shown.size;
    theirs.give(idOf(ORDERS));
    ours.give(idOf(CART));
    await until(() => shown.size > before);
    await sleep(120); // what follows an answer within 100 ms is taken as one
  }
  load.stopped = true;
  await Promise.all(workers);
  expect(failures).toEqual([]);
  expect([...shown]).not.toContain(undefined);
});

it("T3 GC: a server that verifyPeer does not accept: identity_mismatch with its reason, not sent", async () => {
  const ours = new GivenIdentity("ours", idOf(CART), only("spiffe://shop/ns/web/sa/other"));
  const one = await pair(ours, new GivenIdentity("theirs", idOf(ORDERS)));
  const error = await failed(get(one.client, {}));
  expect(error).toMatchObject({
    code: Status.UNAVAILABLE,
    cause: { code: "connect_failed", reason: "identity_mismatch", progress: "not-sent" },
  });
  expect(String(error.cause)).toContain("was not accepted by the identity ours");
});

it("T3 GS: a client that verifyPeer does not accept is turned away before a call, and logged", async () => {
  const lines: LogLine[] = [];
  let calls = 0;
  const ours = new GivenIdentity("ours", idOf("spiffe://shop/ns/web/sa/thief"), only(ORDERS));
  const theirs = new GivenIdentity("theirs", idOf(ORDERS), only(CART));
  const handlers: Partial<OrdersHandlers> = {
    get(_call, done) {
      calls++;
      done(null, {});
    },
  };
  const one = await pair(ours, theirs, handlers, {}, lines);
  await failed(get(one.client, {}));
  expect(calls).toBe(0);
  const line = lines.find(({ event }) => event === "server.peer_refused");
  expect(line?.message).toMatch(/it is \S+thief, not \S+cart/);
});

it("a handler and a layer see who the peer is, and its connection has its own posture", async () => {
  const seen: Record<string, ServerPeer | undefined> = {};
  const asked: string[] = [];
  const priorities: (string | undefined)[] = [];
  const one = await pair(
    new GivenIdentity("ours", idOf(CART), only(ORDERS)),
    new GivenIdentity("theirs", idOf(ORDERS), only(CART)),
    {
      get(_call, done) {
        seen["handler"] = context.getStore()?.peer;
        priorities.push(context.getStore()?.priority);
        done(null, {});
      },
    },
    {
      serverLayers: [
        (inner) => (request) => {
          seen["layer"] = request.peer;
          return inner(request);
        },
      ],
      postureOf: ({ uris }) => {
        asked.push(uris.join());
        return "mesh";
      },
    },
  );
  const critical = new ServedRequest({ priority: "critical" });
  for (const _ of [1, 2, 3]) await context.run(critical, () => get(one.client, {}));
  expect(priorities).toEqual(["critical", "critical", "critical"]);
  expect(seen["handler"]).toBe(seen["layer"]);
  expect(seen["handler"]).toMatchObject({ address: "127.0.0.1", tls: true, uris: [CART] });
  expect(asked).toEqual([CART]); // once for the connection
});

it("T8 GS: files that do not fit are an error at the start", () => {
  const { cert } = ca.issue();
  const { key } = ca.issue();
  expect(() => meshGrpcServer({ tls: { cert, key } })).toThrow(
    /^meshGrpcServer: tls\.key must be the key of the first certificate/,
  );
  expect(() => meshGrpcServer({ tls: { identity: "spire" } })).toThrow(/no source of this mesh/);
});
