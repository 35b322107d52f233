/** C20: packets above 600 bytes are lost, first on the way there, then on the way back; prints the calls' ends. */
import { status as Status, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { MeshError } from "@inmesh/core/spi";
import { createMesh, meshGrpc } from "@inmesh/grpc";
import { OtherHost } from "../../../http/test/children/other-host.ts";
import { counted, get } from "../support/bench.ts";
import { Orders } from "../support/orders.ts";

/** Answers when the request has ended: nothing, or an order with a blob of 100,000 bytes. */
const SERVER = `(() => {
  const server = require("node:http2").createServer();
  server.on("stream", (stream, headers) => {
    const blob = headers["x-large"] === undefined ? Buffer.alloc(0)
      : Buffer.concat([Buffer.from([26, 0xa0, 0x8d, 0x06]), Buffer.alloc(100_000)]);
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(blob.length, 1);
    stream.on("error", () => {}).on("end", () => {
      if (stream.destroyed) return;
      stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(Buffer.concat([prefix, blob]));
    }).resume();
  });
  return server;
})()`;

const host = await OtherHost.start(SERVER);
const config = {
  services: {
    orders: {
      discovery: { static: [host.address] },
      timeouts: { requestMs: 5_000, backendRequestMs: 500 },
    },
  },
};
const blob = Buffer.alloc(100_000);

async function calls(): Promise<Record<string, unknown>> {
  // A mesh of its own, so that no connection remembers the other direction.
  const mesh = createMesh({ env: {}, config });
  const client = new Orders(...meshGrpc("orders", { mesh }));
  const call = async (order: object, large = false): Promise<unknown> => {
    const metadata = new Metadata();
    if (large) metadata.set("x-large", "1");
    return get(client, order, {}, metadata).then(
      (reply) => ((reply.blob?.length ?? 0) > 0 ? "whole" : "short"),
      (error: ServiceError) => ({
        code: Status[error.code],
        reason: (error.cause as MeshError | undefined)?.reason,
      }),
    );
  };
  const small = await call({});
  const up = await call({ blob });
  const down = await call({}, true);
  const charges = (): number => counted(mesh, "inmesh.attempts", { outcome: "timeout" });
  // A timeout that this process notices late is not charged (B5), and a busy machine makes it late.
  const tries = up === "short" && down === "whole" ? 0 : 5;
  for (let i = 0; i < tries && charges() === 0; i++) {
    await (up === "short" ? call({}, true) : call({ blob }));
  }
  const charged = charges() > 0;
  const { endpoints, callsInFlight } = mesh.snapshot().services[0]!;
  const inFlight = callsInFlight + endpoints[0]!.inFlight;
  // The large ones that are lost must not stand in its way for ever.
  const smallAgain = await call({});
  await mesh.close(0);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const kinds = process.getActiveResourcesInfo();
  const sockets = kinds.filter((kind) => kind === "TCPSocketWrap").length;
  return { small, up, down, charged, inFlight, smallAgain, sockets };
}

const healthy = await calls();
host.loseLarge("there", 600);
const lostThere = await calls();
host.loseNothing();
host.loseLarge("here", 600);
const lostHere = await calls();
await host.stop();
process.stdout.write(JSON.stringify({ healthy, lostThere, lostHere }));
