/**
 * `meshClient(nameOrUrl)`: the way in for new code. It turns a path and a few options into a Call,
 * runs it through the pipeline in force, and gives back a lean reply.
 */
import type { Mesh, ServiceInput } from "@inmesh/core";
import { assertClientOptions, defaultMesh } from "@inmesh/core/spi";
import {
  badBody,
  badPath,
  badRequest,
  checkInit,
  checkPath,
  isJsonLike,
  methodOf,
} from "./client/call-input.ts";
import type { FetchInit, RequestInit } from "./client/call-options.ts";
import { Extras, throwOnStatus, type ExtraOptions } from "./client/extras.ts";
import { jsonBody } from "./client/json-body.ts";
import { assertHooks } from "./client/hooks.ts";
import { HTTP } from "./client/protocol.ts";
import type { PublicReply } from "./client/public-reply.ts";
import { withQuery } from "./client/query.ts";
import { follow } from "./client/redirect.ts";
import type { HttpReply } from "./client/reply.ts";
import { HttpRequest } from "./client/request.ts";
import { startCall, type HttpService } from "./client/start.ts";
import { activeMock } from "./doors/application-dispatcher.ts";
import { CONTENT_TYPE, USER_AGENT, USER_AGENT_TEXT } from "./headers.ts";
import { mockedService } from "./doors/mocked-service.ts";

export interface ClientOptions extends ServiceInput, ExtraOptions {
  /** The mesh to call through. Default: one per process for all protocols, by environment and file. */
  readonly mesh?: Mesh;
}

const NOTHING: FetchInit = {};
const NONE: ExtraOptions = {};
const OWN_OPTIONS = {
  mesh: "object",
  headers: "any",
  hooks: "object",
  throwOnError: "boolean",
  redirects: "count",
  decompress: "boolean",
} as const;

/**
 * A client for a service, by the name it has in the configuration or by URL. Cheap to call again:
 * the same name gives the same connections. Throws ConfigError if the name is unknown.
 */
export function meshClient(nameOrUrl: string | URL, options: ClientOptions = {}): MeshClient {
  assertClientOptions<ClientOptions>("meshClient", options, OWN_OPTIONS);
  const {
    mesh = defaultMesh(),
    headers,
    hooks,
    throwOnError = false,
    redirects = 0,
    decompress = false,
    ...input
  } = options;
  assertHooks(hooks);
  const said = Object.keys(input).length === 0 ? undefined : input;
  const service = mesh.service(nameOrUrl, HTTP, said, meshClient);
  const adds = throwOnError || redirects > 0 || decompress || (headers ?? hooks) !== undefined;
  const extras = adds ? new Extras(options, mesh, service.name) : undefined;
  return new MeshClient(mesh, service, extras);
}

export class MeshClient {
  readonly mesh: Mesh;
  readonly #service: HttpService;
  readonly #extras: Extras | undefined;

  constructor(mesh: Mesh, service: HttpService, extras?: Extras) {
    this.mesh = mesh;
    this.#service = service;
    this.#extras = extras;
  }

  get name(): string {
    return this.#service.name;
  }

  /**
   * Makes a call. Resolves when the head of the reply is here, whatever its status; rejects with a
   * MeshError when there is none, or with the signal's reason.
   */
  fetch(path: string, init: FetchInit = NOTHING): Promise<PublicReply> {
    const { redirects = 0 } = this.#extras ?? NONE;
    if (redirects === 0) return this.#send(path, init);
    return follow(this.#service, redirects, path, init, (target, hop) => this.#send(target, hop));
  }

  #send(path: string, init: FetchInit): Promise<HttpReply> {
    const service = this.#service;
    const { name } = service;
    let request: HttpRequest;
    try {
      if (typeof path !== "string" || path.charCodeAt(0) !== 47) {
        // It may be there under another name, which says more.
        if (path === undefined) checkInit(name, init);
        throw badPath(name, path);
      }
      checkPath(name, path);
      checkInit(name, init);
      const { json, method = "GET" } = init;
      let { body = null } = init;
      if (json !== undefined) body = jsonBody(name, init);
      else if (typeof body === "object" && body !== null && isJsonLike(body)) {
        throw badBody(name, body);
      }
      const target = init.query === undefined ? path : withQuery(name, path, init.query);
      request = new HttpRequest(target, methodOf(name, method), init.headers, body);
      this.#extras?.addHeaders(request);
      if (json !== undefined) request.addDefault(CONTENT_TYPE, "application/json");
      // Public services ask for one, and some refuse who has none; a peer learns nothing from it.
      if (!service.config.peer) request.addDefault(USER_AGENT, USER_AGENT_TEXT);
    } catch (error) {
      return Promise.reject(error);
    }
    const mock = activeMock();
    const used = mock === undefined ? service : mockedService(service, mock);
    const extras = this.#extras;
    const throws = init.throwOnError ?? extras?.throwOnError === true;
    if (extras?.hooks !== undefined) {
      const { hooks } = extras;
      return extras.run(hooks, name, request, throws, (onRetry) =>
        startCall(used, request, init, onRetry),
      );
    }
    const sent = startCall(used, request, init);
    return throws ? throwOnStatus(sent) : sent;
  }

  /** The same, with the path among the options, as in undici. */
  request(init: RequestInit): Promise<PublicReply> {
    const name = this.#service.name;
    return typeof init === "object" && init !== null
      ? this.fetch(init.path, init)
      : Promise.reject(badRequest(name, init));
  }
}
