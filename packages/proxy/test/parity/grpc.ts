/** gRPC in scenarios: callers by grpc-js, over the mesh in this process or on a socket, and what servers say. */
import * as grpc from "@grpc/grpc-js";
import type { Mesh } from "@inmesh/core";
import { meshGrpc } from "../../../grpc/src/index.ts";
import { framed } from "../../../grpc/test/support/scripted-server.ts";
import { TEXT_SERVICE, TextClient } from "../support/text-service.ts";
import type { Answer, Ask, Caller } from "./callers.ts";
import type { Arrived, Values } from "./upstream.ts";

export type Method = keyof typeof TEXT_SERVICE;

/** Generic clients have no types of their methods. */
type Untyped = Record<Method, (...args: unknown[]) => grpc.ClientDuplexStream<string, string>>;

class GrpcCaller implements Caller {
  readonly #client: grpc.Client;

  constructor(client: grpc.Client) {
    this.#client = client;
  }

  /** `path` is the method; a body is one message, pieces are several. */
  ask({ path = "unary", headers, body = "x", pieces, timeoutMs, leaves }: Ask): Promise<Answer> {
    const method = TEXT_SERVICE[path as Method];
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
  return new GrpcCaller(new TextClient(...meshGrpc("orders", { mesh, definitions })));
}

export function plainCaller(port: number): Caller {
  const options = { "grpc.default_authority": "orders" };
  return new GrpcCaller(
    new TextClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure(), options),
  );
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
