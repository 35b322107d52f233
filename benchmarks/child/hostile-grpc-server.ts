/** A gRPC server under attack: argv is `mesh` or `bare`. Its methods write down what they understood. */
import {
  Server,
  ServerCredentials,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import { meshGrpcServer, type MeshGrpcServer } from "@inmesh/grpc";
import { GRPC_LIMITS } from "../hostile/limits.ts";
import { sha1 } from "../hostile/strict-http1.ts";
import { BYTES_SERVICE, type SeenCall } from "../hostile/grpc-service.ts";
import { ready, watched } from "./hostile-watched.ts";

const MAX_SEEN = 50_000;
const [side] = process.argv.slice(2);
const seen = new Map<string, SeenCall[]>();
let handling = 0;

interface AnyCall {
  getPath(): string;
  getPeer(): string;
  readonly cancelled: boolean;
  on(event: "cancelled" | "error", listener: () => void): unknown;
}

function note(call: AnyCall): { message(bytes: Buffer): void; end(): void } {
  const one = { path: call.getPath(), messages: [] as string[], whole: false };
  const name = /[\d.]+:\d+$/.exec(call.getPeer())?.[0] ?? "";
  const list = seen.get(name) ?? [];
  seen.set(name, list);
  if (list.length < MAX_SEEN) list.push(one);
  handling++;
  let open = true;
  const over = (): void => {
    if (open) handling--;
    open = false;
  };
  call.on("cancelled", over);
  call.on("error", over);
  return {
    message: (bytes) => void one.messages.push(sha1(bytes)),
    end() {
      // grpc-js says `end` of a cut call as well, before it says that it is cancelled. The mesh must not.
      one.whole = true;
      over();
    },
  };
}

const HANDLERS = {
  echo(call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void {
    const noted = note(call);
    noted.message(call.request);
    noted.end();
    callback(null, call.request);
  },
  up(call: ServerReadableStream<Buffer, Buffer>, callback: sendUnaryData<Buffer>): void {
    const noted = note(call);
    call.on("data", (bytes: Buffer) => noted.message(bytes));
    call.on("end", () => {
      noted.end();
      callback(null, Buffer.from("ok"));
    });
  },
  down(call: ServerWritableStream<Buffer, Buffer>): void {
    const noted = note(call);
    noted.message(call.request);
    for (let i = 0; i < 8; i++) call.write(Buffer.alloc(65_536, "b"));
    call.end();
    noted.end();
  },
  both(call: ServerDuplexStream<Buffer, Buffer>): void {
    const noted = note(call);
    call.on("data", (bytes: Buffer) => {
      noted.message(bytes);
      call.write(bytes);
    });
    call.on("end", () => {
      noted.end();
      call.end();
    });
  },
};

let mesh: MeshGrpcServer | undefined;
let server: Server;
if (side === "mesh") {
  mesh = meshGrpcServer({ limits: GRPC_LIMITS, discoveryWaitMs: 10 });
  ({ server } = mesh);
} else {
  server = new Server({
    "grpc.enable_channelz": 0,
    "grpc.max_connection_age_ms": GRPC_LIMITS.maxConnectionAgeMs,
    "grpc.max_connection_age_grace_ms": 1_000,
  });
}
server.addService(BYTES_SERVICE, HANDLERS as never);

server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error;
  ready(port);
});

watched({
  seen: (name: string) => {
    const list = seen.get(name) ?? [];
    seen.delete(name);
    return { seen: list, open: false };
  },
  // Connections are known by their names alone.
  "is-open": () => ({ open: false }),
  open: () => ({
    handling,
    inFlight: mesh?.snapshot().callsInFlight ?? 0,
    connections: mesh?.snapshot().sessions ?? 0,
  }),
  refused: () => mesh?.snapshot().refused ?? {},
  close: async () => {
    if (mesh === undefined) server.forceShutdown();
    else await mesh.close(1_000);
    return true;
  },
});
