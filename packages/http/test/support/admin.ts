/** An admin listener that ends with its test, and requests to it with every byte of the head chosen. */
import {
  request as httpRequest,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http";
import type { MeshOptions, ServiceInput } from "@inmesh/core";
import type { Failure } from "@inmesh/core/inspect";
import type { AdminListener, AdminOptions, HttpMesh } from "@inmesh/http";
import { httpMeshOf } from "./doors.ts";

export interface Opened {
  readonly mesh: HttpMesh;
  readonly admin: AdminListener;
  readonly token: string;
  /** With the right token, unless `headers` has another. */
  ask(path: string, init?: Asking): Promise<Answered>;
}

export interface Asking {
  readonly method?: string;
  readonly headers?: OutgoingHttpHeaders;
  /** An object is sent as JSON. */
  readonly body?: unknown;
}

export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly json: Record<string, unknown>;
  /** Of a failure. */
  readonly code: Failure["code"];
}

export async function adminOf(
  services: Record<string, ServiceInput> = {},
  options: AdminOptions = {},
  meshOptions: MeshOptions = {},
): Promise<Opened> {
  const mesh = httpMeshOf(services, meshOptions);
  const admin = await mesh.admin.listen(options);
  const token = admin.token ?? (options.token as string);
  return {
    mesh,
    admin,
    token,
    ask: (path, init = {}) =>
      ask(admin, path, { ...init, headers: { authorization: `Bearer ${token}`, ...init.headers } }),
  };
}

/** Without a token. */
export function ask(
  { address, port }: Pick<AdminListener, "address" | "port">,
  path: string,
  { method = "GET", headers = {}, body }: Asking = {},
): Promise<Answered> {
  const to = address.startsWith("unix:")
    ? { socketPath: address.slice("unix:".length) }
    : { host: new URL(address).hostname.replace(/^\[|\]$/g, ""), port };
  const text = typeof body === "string" ? body : body === undefined ? "" : JSON.stringify(body);
  const type =
    body === undefined || typeof body === "string" ? {} : { "content-type": "application/json" };
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        ...to,
        path,
        method,
        agent: false,
        headers: { ...type, "content-length": Buffer.byteLength(text), ...headers },
      },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const received = Buffer.concat(chunks).toString("utf8");
          const isJson = response.headers["content-type"]?.startsWith("application/json") === true;
          const json = (isJson && received !== "" ? JSON.parse(received) : {}) as Answered["json"];
          resolve({
            status: response.statusCode!,
            headers: response.headers,
            text: received,
            json,
            code: json["code"] as Failure["code"],
          });
        });
      },
    );
    request.on("error", reject);
    request.end(text);
  });
}
