/** C6: a host vanishes with our connections open; prints what became of the calls. */
import { Metadata, status as Status, type ServiceError } from "@grpc/grpc-js";
import type { MeshError } from "@inmesh/core/spi";
import { callInfo, createMesh, meshGrpc } from "@inmesh/grpc";
import { farFirst, OtherHost } from "../../../http/test/children/other-host.ts";
import { get } from "../support/bench.ts";
import { Orders, OrdersServer } from "../support/orders.ts";

/** Answers with the order `x`; a stream stays open after it. */
const SERVER = `(() => {
  const order = Buffer.from([0, 0, 0, 0, 3, 10, 1, 120]);
  const server = require("node:http2").createServer();
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    if (headers[":path"].endsWith("List")) stream.write(order);
    else stream.end(order);
  });
  return server;
})()`;

const host = await OtherHost.start(SERVER);
const near = await new OrdersServer("near").listen();
const mesh = createMesh({
  env: {},
  config: {
    services: {
      both: {
        ...farFirst(near.port),
        routes: [
          {
            name: "read",
            matches: [{ headers: [{ name: "x-read", value: "1" }] }],
            idempotent: true,
          },
          { name: "write" },
        ],
      },
      patient: { discovery: { static: [host.address] } },
    },
  },
});
const both = new Orders(...meshGrpc("both", { mesh }));
const patient = new Orders(...meshGrpc("patient", { mesh }));

interface End {
  readonly end: string;
  readonly attempts: number | undefined;
  readonly tookMs: number;
}

async function call(reads: boolean): Promise<End> {
  const startedAt = performance.now();
  const metadata = new Metadata();
  if (reads) metadata.set("x-read", "1");
  let made: unknown;
  const end = await get(both, {}, {}, metadata, (one) => (made = one)).then(
    ({ id }) => id ?? "",
    ({ cause }: ServiceError) => (cause as MeshError).reason,
  );
  const tookMs = Math.round(performance.now() - startedAt);
  return { end, attempts: callInfo(made)?.attempts, tookMs };
}

await Promise.all(Array.from({ length: 4 }, () => call(false)));
// A reply that has begun: nothing of ours limits it but TCP's own question whether they live.
const stream = patient.list({});
await new Promise((resolve) => stream.once("data", resolve));
const cut = new Promise<string>((resolve) => {
  stream.on("data", () => {});
  stream.on("error", (error: Error) => resolve(Status[(error as ServiceError).code]!));
});

host.vanish();
const vanishedAt = performance.now();
const [read, write] = await Promise.all([call(true), call(false)]);
const again: End[] = [];
for (let i = 0; i < 20; i++) again.push(await call(true));
const streamEnd = await cut;
const streamMs = Math.round(performance.now() - vanishedAt);
const nearCalls = near.calls;
await mesh.close(0);
near.stop();
await host.stop();
process.stdout.write(JSON.stringify({ read, write, again, nearCalls, streamEnd, streamMs }));
