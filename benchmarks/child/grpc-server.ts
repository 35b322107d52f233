/** The server of the gRPC benchmark, forked. Sends `{ port }`, and `{ served }`, the unary calls since the last asking, to any message. */
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import { BYTES, MESSAGE_BYTES } from "./grpc-service.ts";

const server = new Server({ "grpc.enable_channelz": 0 });
const message = Buffer.alloc(MESSAGE_BYTES, 7);
let served = 0;

server.addService(BYTES, {
  echo(call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void {
    served++;
    callback(null, call.request);
  },
  up(call: ServerReadableStream<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void {
    let count = 0;
    call.on("data", () => count++);
    call.on("end", () => callback(null, Buffer.from(String(count))));
  },
  down(call: ServerWritableStream<Buffer, Buffer>): void {
    let left = Number(String(call.request));
    const more = (): void => {
      while (left > 0) {
        left--;
        if (!call.write(message)) return void call.once("drain", more);
      }
      call.end();
    };
    more();
  },
});
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  process.send!({ port });
});
process.on("message", () => {
  process.send!({ served });
  served = 0;
});
process.on("disconnect", () => process.exit());
