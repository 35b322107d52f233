/**
 * R4: hides one private member of grpc-js from our code, and from no other, then plays calls of every
 * kind against a server of ours; prints what became of them. `none` hides nothing.
 */
import { createRequire } from "node:module";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import type { LogLine } from "@inmesh/core";
import { createMesh, meshGrpc, meshGrpcServer, type MeshGrpcServer } from "@inmesh/grpc";
import { TestCa } from "../../../http/test/support/ca.ts";
import { get } from "../support/bench.ts";
import { Orders, OrdersServer, type OrdersClient } from "../support/orders.ts";

type Holder = object;
const require = createRequire(import.meta.url);
const inside = (file: string): Record<string, { prototype: Holder }> =>
  require(join(require.resolve("@grpc/grpc-js"), "..", file)) as Record<
    string,
    { prototype: Holder }
  >;

/** Only internals.ts finds nothing there: to grpc-js itself the member is where it was. */
function hide(holder: Holder, name: string): void {
  const values = new WeakMap<object, unknown>();
  const original: unknown = (holder as Record<string, unknown>)[name];
  Object.defineProperty(holder, name, {
    configurable: true,
    get(this: object) {
      const caller = new Error().stack?.split("\n")[2] ?? "";
      if (caller.includes("internals.ts")) return undefined;
      return values.has(this) ? values.get(this) : original;
    },
    set(this: object, value: unknown) {
      values.set(this, value);
    },
  });
}

const server = grpc.Server.prototype;
const internal = (): Holder => inside("internal-channel.js")["InternalChannel"]!.prototype;
const call = (): Holder => inside("subchannel-call.js")["Http2SubchannelCall"]!.prototype;
const subchannel = (): Holder => inside("subchannel.js")["Subchannel"]!.prototype;
const insecure = (): Holder => Object.getPrototypeOf(grpc.credentials.createInsecure()) as Holder;

const MEMBERS: Readonly<Record<string, () => void>> = {
  none: () => {},
  internalChannel: () => hide(grpc.Channel.prototype, "internalChannel"),
  doPick: () => hide(internal(), "doPick"),
  onCallStart: () => hide(internal(), "onCallStart"),
  onCallEnd: () => hide(internal(), "onCallEnd"),
  filterStackFactory: () => hide(internal(), "filterStackFactory"),
  createCall: () => hide(subchannel(), "createCall"),
  subchannelState: () => hide(subchannel(), "getConnectivityState"),
  getRealSubchannel: () =>
    hide(
      inside("subchannel-interface.js")["BaseSubchannelWrapper"]!.prototype,
      "getRealSubchannel",
    ),
  cancelWithStatus: () => hide(call(), "cancelWithStatus"),
  sendMessageWithContext: () => hide(call(), "sendMessageWithContext"),
  startRead: () => hide(call(), "startRead"),
  halfClose: () => hide(call(), "halfClose"),
  getPeer: () => hide(call(), "getPeer"),
  getAuthContext: () => hide(call(), "getAuthContext"),
  _createSecureConnector: () => hide(insecure(), "_createSecureConnector"),
  _isSecure: () => hide(insecure(), "_isSecure"),
  _equals: () => hide(insecure(), "_equals"),
  interceptors: () => hide(server, "interceptors"),
  options: () => hide(server, "options"),
  http2Servers: () => hide(server, "http2Servers"),
  handlers: () => hide(server, "handlers"),
};

const member = process.argv[2]!;
const MODE = process.argv[3]!;
MEMBERS[member]!();

const seen: Record<string, unknown> = {};
const forged: string[] = [];
const served: MeshGrpcServer = meshGrpcServer({
  health: {},
  limits: { maxLoopDelayMs: Infinity, maxConnections: 3, writeStallTimeoutMs: 300 },
});
const orders = new OrdersServer(
  "a",
  {
    get: ({ metadata, request }, done) => {
      forged.push(...Object.keys(metadata.getMap()).filter((key) => key.startsWith("x-mesh-")));
      if (request.id === "silent") return;
      done(null, { id: "a", count: (request.count ?? 0) + 1 });
    },
    list: (stream) => {
      const { count = 0 } = stream.request;
      const blob = Buffer.alloc(65_536);
      const next = (at: number): void => {
        if (at === count) return void stream.end();
        stream.write({ count: at, ...(count > 100 ? { blob } : {}) }, () => next(at + 1));
      };
      next(0);
    },
  },
  served.server,
);
const ca = new TestCa();
const own = ca.issue();
const tls = MODE === "tls";
orders.port = await served.listen(
  "127.0.0.1:0",
  tls
    ? grpc.ServerCredentials.createSsl(null, [
        { cert_chain: Buffer.from(own.cert), private_key: Buffer.from(own.key) },
      ])
    : grpc.ServerCredentials.createInsecure(),
);
const log: string[] = [];
const mesh = createMesh({
  env: {},
  log: ({ event, message }: LogLine) => log.push(`${event} ${message}`),
  config: {
    services: {
      orders: {
        discovery: { static: [orders.address] },
        ...(tls ? { scheme: "https", authority: "svc", tls: { ca: ca.cert } } : {}),
      },
    },
  },
} as never);
const client = new Orders(...meshGrpc("orders", { mesh }));

/** Another mesh, whose TLS settings do not fit the server. */
async function refusedBy(wrong: object): Promise<number> {
  const other = createMesh({
    env: {},
    config: {
      services: {
        orders: {
          discovery: { static: [orders.address] },
          scheme: "https",
          authority: "svc",
          tls: wrong,
        },
      },
    },
  } as never);
  const calls = orders.calls;
  const code = await codeOf(get(new Orders(...meshGrpc("orders", { mesh: other })), {}));
  await other.close(0);
  return orders.calls === calls ? code : -1;
}

const codeOf = (work: Promise<unknown>): Promise<number> =>
  work.then(
    () => 0,
    ({ code }: grpc.ServiceError) => code,
  );

async function streams(of: OrdersClient): Promise<number[]> {
  let listed = 0;
  for await (const _ of of.list({ count: 20 }) as AsyncIterable<unknown>) listed++;
  const added = await new Promise<number>((resolve, reject) => {
    const adding = of.add((error, order) => (error ? reject(error) : resolve(order!.count!)));
    for (let i = 0; i < 10; i++) adding.write({ count: i });
    adding.end();
  });
  let chatted = 0;
  const chat = of.chat();
  for (let i = 0; i < 10; i++) chat.write({ count: i });
  chat.end();
  for await (const _ of chat as AsyncIterable<unknown>) chatted++;
  return [listed, added, chatted];
}

const replies: number[] = [];
for (let i = 0; i < 5; i++) replies.push((await get(client, { count: i })).count!);
seen["unary"] = replies;
seen["together"] = (
  await Promise.all(Array.from({ length: 50 }, (_, count) => get(client, { count })))
).length;
seen["streams"] = await streams(client);
const metadata = new grpc.Metadata();
metadata.set("x-mesh-hops", "3");
metadata.set("x-mesh-priority", "critical");
const bare = new Orders(
  orders.address,
  tls ? grpc.credentials.createSsl(Buffer.from(ca.cert)) : grpc.credentials.createInsecure(),
  { "grpc.ssl_target_name_override": "svc" },
);
seen["bare"] = await codeOf(get(bare, {}, {}, metadata));
seen["forged"] = forged;
seen["cancelled"] = await codeOf(
  get(client, { id: "silent" }, {}, new grpc.Metadata(), (one) =>
    setTimeout(() => one.cancel(), 30),
  ),
);
seen["deadline"] = await codeOf(get(client, { id: "silent" }, { deadline: Date.now() + 60 }));
// One that does not read is ended after a while, and nothing is left of it.
const callsBefore = orders.calls;
const deaf = bare.list({ count: 1_000 });
deaf.on("error", () => {});
// On a busy machine it may arrive late, and would be counted among the calls of those who are not let in.
for (let i = 0; i < 400 && orders.calls === callsBefore; i++) {
  await new Promise((resolve) => setTimeout(resolve, 20));
}
const quiet = async (): Promise<boolean> => {
  // A busy machine fills the windows of a client that does not read late.
  for (let i = 0; i < 400; i++) {
    if (served.snapshot().callsInFlight === 0) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
};
seen["deafEnds"] = await quiet();
deaf.cancel();
seen["inFlight"] = (await quiet()) ? 0 : served.snapshot().callsInFlight;
seen["meshInFlight"] = mesh
  .snapshot()
  .services[0]!.endpoints.reduce((sum, { inFlight }) => sum + inFlight, 0);
seen["sessions"] = served.snapshot().sessions > 0;
const [address, credentials, options] = [orders.address, grpc.credentials.createInsecure(), {}];
const health = new grpc.Client(address, credentials, options);
const check = (service: string): Promise<number> =>
  codeOf(
    new Promise((resolve, reject) => {
      health.makeUnaryRequest(
        "/grpc.health.v1.Health/Check",
        (name: string) => Buffer.concat([Buffer.from([10, name.length]), Buffer.from(name)]),
        (bytes: Buffer) => bytes,
        service,
        (error, reply) => (error ? reject(error) : resolve(reply)),
      );
    }),
  );
if (!tls) seen["health"] = [await check("shop.Orders"), await check("none")];
if (tls) {
  seen["distrusted"] = [
    await refusedBy({ ca: new TestCa().cert }),
    await refusedBy({ ca: ca.cert, serverName: "other" }),
  ];
}
health.close();
let given: string;
try {
  meshGrpcServer(new grpc.Server());
  given = "wrapped";
} catch (error) {
  given = (error as Error).message;
}
const degraded = served.snapshot().degraded;
const ofMesh = mesh.snapshot().degraded;
const startedAt = Date.now();
client.close();
bare.close();
await mesh.close(1_000);
await served.close(2_000);
seen["closedInTime"] = Date.now() - startedAt < 3_000;
process.stdout.write(
  JSON.stringify({
    version: (require("@grpc/grpc-js/package.json") as { version: string }).version,
    seen,
    given,
    degraded,
    ofMesh,
    log: log.filter((line) => line.startsWith("runtime.degraded")),
  }),
);
