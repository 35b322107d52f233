/**
 * A server whose handlers are at work when it, or their client, ends their calls. Notes what they hear,
 * and does late what handlers do. Whatever throws ends the process with 1.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Metadata } from "@grpc/grpc-js";
import { meshGrpcServer } from "@inmesh/grpc";
import { OrdersServer } from "../support/orders.ts";

const limits = JSON.parse(process.argv[2]!) as Record<string, number>;
const notes: Record<string, string[]> = {};

interface Call {
  readonly metadata: Metadata;
  on(event: string, listener: () => void): void;
}

function noterOf(call: Call): (what: string) => void {
  const name = String(call.metadata.get("x-name")[0]);
  const note = (what: string): void => void (notes[name] ??= []).push(what);
  for (const event of ["end", "cancelled", "close", "error"]) call.on(event, () => note(event));
  return note;
}

const orders = new OrdersServer("a", {
  add(call, callback) {
    const note = noterOf(call);
    const late = async (): Promise<void> => {
      await sleep(20);
      call.sendMetadata(new Metadata());
      callback(null, { count: 1 });
      await sleep(20);
      callback(null, { count: 2 });
      note("answered late");
    };
    call.on("data", () => {});
    call.on("end", () => callback(null, { count: 0 }));
    call.on("cancelled", () => void late());
  },
  async chat(call) {
    const note = noterOf(call as never);
    if (call.metadata.get("x-floods").length > 0) call.write({ blob: Buffer.alloc(1 << 20) });
    try {
      for await (const _ of call) note("message");
      note("whole");
    } catch {
      note("rejected");
    } finally {
      note("finally");
    }
    await sleep(50);
    call.sendMetadata(new Metadata());
    call.write({ count: 1 });
    call.end();
    note("answered late");
  },
});
const server = meshGrpcServer(orders.server, {
  limits: { maxLoopDelayMs: Infinity, ...limits },
});
process.on("message", (message) => {
  if (message === "report") process.send!({ notes, snapshot: server.snapshot() });
  if (message === "close") void server.close(50);
  if (message === "exit") process.disconnect();
});
await orders.listen();
process.send!({ port: orders.port });
