/**
 * `meshClient(nameOrUrl)`: the way in for new code. It turns a path and a few options into a Call,
 * runs it through the pipeline in force, and gives back a lean reply.
 */
import type { Mesh, ServiceInput } from "@inmesh/core";
import { assertClientOptions, defaultMesh, type Service } from "@inmesh/core/spi";
import type { RequestBody } from "./client/body.ts";
import {
  badBody,
  badPath,
  badRequest,
  checkInit,
  isJsonLike,
  methodOf,
} from "./client/call-input.ts";
import { HTTP } from "./client/protocol.ts";
import type { PublicReply } from "./client/public-reply.ts";
import type { HttpReply } from "./client/reply.ts";
import { HttpRequest, type HeadersInput } from "./client/request.ts";
import { startCall, type CallInit } from "./client/start.ts";
import { activeMock } from "./doors/application-dispatcher.ts";
import { USER_AGENT, USER_AGENT_TEXT } from "./headers.ts";
import { mockedService } from "./doors/mocked-service.ts";

export interface ClientOptions extends ServiceInput {
  /** The mesh to call through. Default: one per process for all protocols, by environment and file. */
  readonly mesh?: Mesh;
}

export interface FetchInit extends CallInit {
  /** Default `GET`. As in fetch, get, head, post, put, delete and options may be in lower case. */
  readonly method?: string;
  /**
   * Numbers and booleans are written out, undefined is left out. `x-mesh-*` is ours and dropped; `host`
   * belongs to the service and is refused. Default: none.
   */
  readonly headers?: HeadersInput;
  /** Streams are sent as they are read, and are not sent a second time. Default: none. */
  readonly body?: RequestBody;
}

export interface RequestInit extends FetchInit {
  /** Path and query. Starts with `/`. */
  readonly path: string;
}

const NOTHING: FetchInit = {};
const OWN_OPTIONS = { mesh: "object" } as const;

/**
 * A client for a service, by the name it has in the configuration or by URL. Cheap to call again:
 * the same name gives the same connections. Throws ConfigError if the name is unknown.
 */
export function meshClient(nameOrUrl: string | URL, options: ClientOptions = {}): MeshClient {
  assertClientOptions<ClientOptions>("meshClient", options, OWN_OPTIONS);
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
  fetch(path: string, init: FetchInit = NOTHING): Promise<PublicReply> {
    const service = this.#service;
    const { name } = service;
    let request: HttpRequest;
    try {
      if (typeof path !== "string" || path.charCodeAt(0) !== 47) throw badPath(name, path);
      checkInit(name, init);
      const { method = "GET", body = null } = init;
      if (typeof body === "object" && body !== null && isJsonLike(body)) throw badBody(name, body);
      request = new HttpRequest(path, methodOf(name, method), init.headers, body);
      // Public services ask for one, and some refuse who has none; a peer learns nothing from it.
      if (!service.config.peer) request.addDefault(USER_AGENT, USER_AGENT_TEXT);
    } catch (error) {
      return Promise.reject(error);
    }
    const mock = activeMock();
    return startCall(mock === undefined ? service : mockedService(service, mock), request, init);
  }

  /** The same, with the path among the options, as in undici. */
  request(init: RequestInit): Promise<PublicReply> {
    const name = this.#service.name;
    return typeof init === "object" && init !== null
      ? this.fetch(init.path, init)
      : Promise.reject(badRequest(name, init));
  }
}
