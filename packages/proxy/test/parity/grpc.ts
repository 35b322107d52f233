/** gRPC in scenarios: callers by grpc-js, over the mesh in this process or on a socket, applications of it, and what servers say. */
import { once } from "node:events";
import * as grpc from "@grpc/grpc-js";
import type { Mesh } from "@inmesh/core";
import { meshGrpc } from "../../../grpc/src/index.ts";
import { framed } from "../../../grpc/test/support/scripted-server.ts";
import { TEXT_SERVICE } from "../support/text-service.ts";
import type { Answer, Ask, Caller } from "./callers.ts";
import type { Arrived, SeenRequest, Values } from "./upstream.ts";

/** Those of the application, one that it does not have, and the question of an orchestrator. */
const METHODS = {
  ...TEXT_SERVICE,
  absent: { ...TEXT_SERVICE.unary, path: "/t.T/Absent" },
  health: { ...TEXT_SERVICE.unary, path: "/grpc.health.v1.Health/Check" },
};
const Client = grpc.makeGenericClientConstructor(METHODS, "T");

export type Method = keyof typeof METHODS;

/** Generic clients have no types of their methods. */
type Untyped = Record<Method, (...args: unknown[]) => grpc.ClientDuplexStream<string, string>>;

class GrpcCaller implements Caller {
  readonly #client: grpc.Client;

  constructor(client: grpc.Client) {
    this.#client = client;
  }

  /** `path` is the method; a body is one message, pieces are several. */
  ask({ path = "unary", headers, body = "x", pieces, timeoutMs, leaves }: Ask): Promise<Answer> {
    const method = METHODS[path as Method];
    const metadata = new grpc.Metadata();
    for (const [name, value] of Object.entries(headers ?? {})) metadata.set(name, String(value));
    const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
    return new Promise((resolve) => {
      let got = "";
      let head: grpc.Metadata | undefined;
      const done = (_error: unknown, value?: string): void => {
        if (value !== undefined) got += value;
      };
      const first = method.requestStream ? [] : [body];
      const last = method.responseStream ? [] : [done];
      const call = (this.#client as unknown as Untyped)[path as Method](
        ...first,
        metadata,
        options,
        ...last,
      );
      call.on("metadata", (one: grpc.Metadata) => (head = one));
      if (method.responseStream) {
        call.on("error", () => {});
        call.on("data", (value: string) => (got += value));
      }
      // Behind the callback of the client, and the last message.
      call.on("status", ({ code, details, metadata: end }: grpc.StatusObject) =>
        setImmediate(() =>
          resolve({
            status: code,
            // What the mesh says in place of a server is worded differently, see `details`.
            ...(code !== grpc.status.OK && { error: details }),
            body: got,
            headers: shown(head),
            trailers: shown(end),
          }),
        ),
      );
      if (method.requestStream) {
        for (const piece of pieces ?? [body]) call.write(piece);
        call.end();
      }
      void leaves?.then(() => call.cancel());
    });
  }

  warm(): void {
    this.#client.getChannel().getConnectivityState(true);
  }

  close(): void {
    this.#client.close();
  }
}

function shown(metadata: grpc.Metadata | undefined): Record<string, string> {
  const all = Object.entries(metadata?.getMap() ?? {}).map(([name, value]) => [
    name,
    String(value),
  ]);
  return Object.fromEntries(all.filter(([name]) => name !== "date" && name !== "content-type"));
}

export function meshCaller(mesh: Mesh): Caller {
  const definitions = [TEXT_SERVICE];
  return new GrpcCaller(new Client(...meshGrpc("orders", { mesh, definitions })));
}

export function plainCaller(port: number): Caller {
  const options = { "grpc.default_authority": "orders" };
  return new GrpcCaller(
    new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), options),
  );
}

// ── an application of gRPC ─────────────────────────────────────────────────────────────────────

/** A call that has come whole. */
export interface ArrivedCall {
  /** 1 for the first one. */
  readonly number: number;
  readonly path: string;
  readonly messages: readonly string[];
  header(name: string): string | undefined;
  /** Its reply, with OK. */
  reply(messages: readonly string[], trailers?: Values): void;
  /** A status without a message. */
  end(code: number, details: string, trailers?: Values): void;
}

export type ServeCall = (call: ArrivedCall) => void;

type AnyCall = grpc.ServerUnaryCall<string, string> &
  grpc.ServerReadableStream<string, string> &
  grpc.ServerWritableStream<string, string>;

/** A server of grpc-js that knows nothing of the mesh, and what has reached it. */
export class GrpcApplication {
  readonly name: string;
  readonly seen: SeenRequest[] = [];
  readonly server: grpc.Server = new grpc.Server();
  readonly #serve: ServeCall;
  readonly #log: string[];

  constructor(name: string, serve: ServeCall, log: string[]) {
    this.name = name;
    this.#serve = serve;
    this.#log = log;
    const handlers = Object.entries(TEXT_SERVICE).map(([method, definition]) => [
      method,
      (call: AnyCall, done?: grpc.sendUnaryData<string>) => this.#handle(call, definition, done),
    ]);
    this.server.addService(TEXT_SERVICE, Object.fromEntries(handlers));
  }

  async listen(): Promise<string> {
    const port = await new Promise<number>((resolve, reject) => {
      this.server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, at) =>
        error === null ? resolve(at) : reject(error),
      );
    });
    return `127.0.0.1:${port}`;
  }

  async #handle(
    call: AnyCall,
    { path, requestStream, responseStream }: grpc.MethodDefinition<string, string>,
    done: grpc.sendUnaryData<string> | undefined,
  ): Promise<void> {
    const fields = Object.entries(call.metadata.getMap()).map(([name, value]) => [
      name,
      [String(value)],
    ]);
    const one: SeenRequest = {
      method: "POST",
      path,
      authority: call.getHost(),
      fields: Object.fromEntries(fields),
      body: "",
      trailers: {},
    };
    this.seen.push(one);
    this.#log.push(this.name);
    call.on("error", () => {});
    const messages: string[] = [];
    if (!requestStream) messages.push(call.request);
    else {
      call.on("data", (message: string) => messages.push(message));
      await once(call, "end");
    }
    one.body = messages.join();
    this.#serve({
      number: this.seen.length,
      path,
      messages,
      header: (name) => call.metadata.get(name)[0]?.toString(),
      reply: (replies, trailers) => {
        if (!responseStream) return done!(null, replies[0]!, metadataOf(trailers));
        for (const reply of replies) call.write(reply);
        call.end(metadataOf(trailers));
      },
      end: (code, details, trailers) => {
        const error = { code, details, metadata: metadataOf(trailers) };
        if (!responseStream) done!(error);
        else call.emit("error", error);
      },
    });
  }
}

function metadataOf(values: Values = {}): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(values)) metadata.set(name, String(value));
  return metadata;
}

// ── what servers say ───────────────────────────────────────────────────────────────────────────

const TYPE: Values = { "content-type": "application/grpc" };

/** One message after the other, and a status. */
export function says(request: Arrived, messages: readonly string[], trailers: Values = {}): void {
  const body = messages.map((one) => framed(Buffer.from(one)).toString("latin1")).join("");
  request.reply(200, body, TYPE, { "grpc-status": "0", ...trailers });
}

/** A status without a message, in the head of the reply. */
export function ends(request: Arrived, code: number, message = "", more: Values = {}): void {
  const status = { "grpc-status": String(code), "grpc-message": message };
  request.reply(200, "", { ...TYPE, "content-length": [], ...status, ...more });
}

/** Texts of the messages of a request. */
export function messagesOf({ body }: Arrived): string[] {
  const bytes = Buffer.from(body, "latin1");
  const all: string[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = bytes.readUInt32BE(at + 1);
    all.push(bytes.toString("utf8", at + 5, at + 5 + length));
    at += 5 + length;
  }
  return all;
}

export { TYPE as GRPC_TYPE };
