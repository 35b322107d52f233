/**
 * One gRPC server of the rolling restart, as a process of its own. It serves four kinds of call,
 * reports every unary call by its id before it answers, and stops on SIGTERM: well, if it is wrapped
 * by meshGrpcServer, or as far as grpc-js alone can.
 */
import {
  Server,
  ServerCredentials,
  status as Status,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import { meshGrpcServer } from "@inmesh/grpc";
import type { FromServer, ServerOptions } from "../fleet.ts";
import { MESSAGE_EVERY_MS, MESSAGES, ROLLING } from "./rolling-grpc-service.ts";

const WORK_MS = 2;
const REPORT_EVERY_MS = 50;

const options = JSON.parse(process.argv[2]!) as ServerOptions;
let ids: string[] = [];

function report(done?: () => void): void {
  if (ids.length === 0) return done?.();
  const message: FromServer = { ids };
  ids = [];
  process.send!(message, undefined, undefined, () => done?.());
}

const handlers = {
  unary(call: ServerUnaryCall<string, string>, done: sendUnaryData<string>): void {
    ids.push(call.request);
    setTimeout(() => done(null, call.request), WORK_MS);
  },
  /** Answers with the count of messages that came in their order. */
  up(call: ServerReadableStream<string, string>, done: sendUnaryData<string>): void {
    let count = 0;
    call.on("data", (number: string) => {
      if (Number(number) === count) count++;
      else done({ code: Status.DATA_LOSS, details: `${number} after ${count}` });
    });
    call.on("end", () => done(null, String(count)));
  },
  down(call: ServerWritableStream<string, string>): void {
    let number = 0;
    const next = (): void => {
      if (call.cancelled) return;
      if (number === MESSAGES) return void call.end();
      call.write(String(number++));
      setTimeout(next, MESSAGE_EVERY_MS);
    };
    next();
  },
  both(call: ServerDuplexStream<string, string>): void {
    call.on("data", (number: string) => call.write(number));
    call.on("end", () => call.end());
  },
};

// All of them share this machine: that it is busy is not what is measured.
const limits = { maxLoopDelayMs: Infinity };
const own = options.wrapped ? meshGrpcServer({ discoveryWaitMs: 100, limits }) : undefined;
const server = own?.server ?? new Server({ "grpc.enable_channelz": 0 });
server.addService(ROLLING, handlers);
server.bindAsync(`127.0.0.1:${options.port}`, ServerCredentials.createInsecure(), (error) => {
  if (error !== null) throw error;
  process.send!({ listening: options.port });
});

function leave(): void {
  report(() => process.exit(0));
}

process.once("SIGTERM", () => {
  if (own === undefined) server.tryShutdown(leave);
  else void own.drain().then(leave);
});
setInterval(report, REPORT_EVERY_MS).unref();
process.once("disconnect", () => process.exit(0));
