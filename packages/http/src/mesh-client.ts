/**
 * `meshClient(nameOrUrl)`: the way in for new code. It turns a path and a few options into a Call,
 * runs it through the pipeline in force, and gives back a lean reply.
 */
import type { Mesh, ServiceInput } from "@inmesh/core";
import { defaultMesh, MeshError, type Service } from "@inmesh/core/spi";
import type { RequestBody } from "./client/body.ts";
import { HTTP } from "./client/protocol.ts";
import type { HttpReply } from "./client/reply.ts";
import { HttpRequest, type HeadersInput } from "./client/request.ts";
import { startCall, type CallInit } from "./client/start.ts";
import { activeMock } from "./doors/application-dispatcher.ts";
import { mockedService } from "./doors/mocked-service.ts";

export interface ClientOptions extends ServiceInput {
  /** The mesh to call through. Default: one per process for all protocols, by environment and file. */
  readonly mesh?: Mesh;
}

export interface FetchInit extends CallInit {
  /** Default `GET`. Upper case, as on the wire. */
  readonly method?: string;
  /** `x-mesh-*` is ours and dropped; `host` belongs to the service and is refused. Default: none. */
  readonly headers?: HeadersInput;
  /** Streams are sent as they are read, and are not sent a second time. Default: none. */
  readonly body?: RequestBody;
}

export interface RequestInit extends FetchInit {
  /** Path and query. Starts with `/`. */
  readonly path: string;
}

const NOTHING: FetchInit = {};

/**
 * A client for a service, by the name it has in the configuration or by URL. Cheap to call again:
 * the same name gives the same connections. Throws ConfigError if the name is unknown.
 */
export function meshClient(nameOrUrl: string | URL, options: ClientOptions = {}): MeshClient {
  const { mesh = defaultMesh(), ...input } = options;
  const said = Object.keys(input).length === 0 ? undefined : input;
  return new MeshClient(mesh, mesh.service(nameOrUrl, HTTP, said));
}

export class MeshClient {
  readonly mesh: Mesh;
  readonly #service: Service<HttpRequest, HttpReply>;

  constructor(mesh: Mesh, service: Service<HttpRequest, HttpReply>) {
    this.mesh = mesh;
    this.#service = service;
  }

  get name(): string {
    return this.#service.name;
  }

  /**
   * Makes a call. Resolves when the head of the reply is here, whatever its status; rejects with a
   * MeshError when there is none, or with the signal's reason.
   */
  fetch(path: string, init: FetchInit = NOTHING): Promise<HttpReply> {
    const { method = "GET" } = init;
    const service = this.#service;
    let request: HttpRequest;
    try {
      if (path.charCodeAt(0) !== 47) throw badPath(service.name, path);
      request = new HttpRequest(path, method, init.headers, init.body ?? null);
    } catch (error) {
      return Promise.reject(error);
    }
    const mock = activeMock();
    return startCall(mock === undefined ? service : mockedService(service, mock), request, init);
  }

  /** The same, with the path among the options, as in undici. */
  request(init: RequestInit): Promise<HttpReply> {
    return this.fetch(init.path, init);
  }
}

/** Shows enough to see a URL or a forgotten slash, and too little for the secrets in either. */
function badPath(service: string, path: string): MeshError {
  const start = JSON.stringify(path.length > 8 ? `${path.slice(0, 8)}…` : path);
  return new MeshError({
    code: "bad_request",
    reason: "bad_target",
    message: `${service}: the path must start with "/", got ${start}`,
    progress: "not-sent",
  });
}
