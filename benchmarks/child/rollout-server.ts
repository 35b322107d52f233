/**
 * One pod of the rollout: HTTP and gRPC in one process, drained at SIGTERM as the guide of Kubernetes says. Every POST
 * and every call of gRPC is reported by its id before it is answered.
 */
import type { sendUnaryData, ServerUnaryCall } from "@grpc/grpc-js";
import { ServerCredentials } from "@grpc/grpc-js";
import { meshGrpcServer } from "@inmesh/grpc";
import { createMesh, meshServer } from "inmesh";
import type { FromServer } from "../fleet.ts";
import { ROLLING } from "./rolling-grpc-service.ts";

interface Place {
  readonly address: string;
  readonly ports: { readonly http: number; readonly grpc: number };
}

const WORK_MS = 2;
const REPORT_EVERY_MS = 50;
const { address, ports } = JSON.parse(process.argv[2]!) as Place;
let ids: string[] = [];

function report(done?: () => void): void {
  if (ids.length === 0) return done?.();
  const message: FromServer = { ids };
  ids = [];
  process.send!(message, undefined, undefined, () => done?.());
}

const mesh = createMesh({ env: {} });
// All pods share this machine: that it is busy is not what is looked at.
const limits = { maxLoopDelayMs: Infinity };
const http = meshServer(
  (request, response) => {
    if (request.method === "POST") ids.push(String(request.headers["x-request-id"]));
    let bytes = 0;
    request.on("data", (chunk: Buffer) => (bytes += chunk.length));
    request.on("end", () => setTimeout(() => response.end(String(bytes)), WORK_MS));
  },
  { name: "orders", posture: "mesh", mesh, limits },
);
const grpc = meshGrpcServer({ name: "orders", posture: "mesh", mesh, limits });
grpc.server.addService(ROLLING, {
  unary(call: ServerUnaryCall<string, string>, done: sendUnaryData<string>): void {
    ids.push(call.request);
    setTimeout(() => done(null, call.request), WORK_MS);
  },
});
// A pod is ready by the probe of HTTP, so gRPC listens first.
await new Promise<void>((resolve, reject) => {
  const credentials = ServerCredentials.createInsecure();
  grpc.server.bindAsync(`${address}:${ports.grpc}`, credentials, (error) =>
    error === null ? resolve() : reject(error),
  );
});
await http.listen(ports.http, address);
process.on("SIGTERM", () => {
  void Promise.all([http.drain(), grpc.drain()]).then(() => report(() => process.exit(0)));
});
setInterval(report, REPORT_EVERY_MS).unref();
process.once("disconnect", () => process.exit(0));
