/**
 * One gRPC server of the server's benchmark in a fresh process, forked: argv is `bare` or `mesh`.
 * Sends `{ port }`, then what served.ts does.
 */
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";
import { meshGrpcServer } from "@inmesh/grpc";
import { BYTES } from "./grpc-service.ts";
import { tellServed } from "./served.ts";

const { echo } = BYTES;
const served = tellServed();

const server =
  process.argv[2] === "mesh"
    ? // A machine that is busy with other things must not have it refuse calls.
      meshGrpcServer({ health: false, limits: { maxLoopDelayMs: 10_000 } }).server
    : new Server({ "grpc.enable_channelz": 0 });
server.addService(
  { echo: echo! },
  {
    echo(call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void {
      served();
      callback(null, call.request);
    },
  },
);
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.send!({ port });
});
