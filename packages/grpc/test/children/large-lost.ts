/** C20: large packets are lost (large-packets.ts), under unary calls. */
import { status as Status, Metadata, type ServiceError } from "@grpc/grpc-js";
import type { MeshError } from "@inmesh/core/spi";
import { meshGrpc } from "@inmesh/grpc";
import { playLargePackets } from "../../../http/test/children/large-packets.ts";
import { OtherHost } from "../../../http/test/children/other-host.ts";
import { get } from "../support/bench.ts";
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

const blob = Buffer.alloc(100_000);
const service = { timeouts: { requestMs: 5_000, backendRequestMs: 500 } };

await playLargePackets(await OtherHost.start(SERVER), service, (mesh) => {
  const client = new Orders(...meshGrpc("svc", { mesh }));
  const call = (order: object, large = false): Promise<unknown> => {
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
  return { small: () => call({}), up: () => call({ blob }), down: () => call({}, true) };
});
