/**
 * An API server for tests, over real sockets: list in pages, watch, streaming lists, bookmarks, 410, tokens. It is
 * strict, so that what a real one refuses is refused here too; real-api.test.ts runs the same client against a real
 * one. Tests break it in the ways of faults.md.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { discoveryDocument } from "./fake-discovery.ts";

export interface FakeEndpoint {
  address: string;
  ready?: boolean | undefined;
  serving?: boolean | undefined;
  terminating?: boolean | undefined;
  uid?: string;
  zone?: string;
  node?: string;
  /** Of the pod; default: made of `uid`. */
  pod?: string;
  forZones?: string[];
}

export interface FakeSlice {
  name: string;
  service: string;
  ports?: { name?: string; port?: number; protocol?: string; appProtocol?: string }[] | null;
  endpoints?: FakeEndpoint[];
  addressType?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

interface Stored {
  readonly object: Record<string, unknown>;
  readonly service: string;
  readonly version: number;
}

interface Event {
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly stored: Stored;
}

export class FakeApi {
  readonly requests: { url: URL; authorization: string | undefined }[] = [];
  version = 1_000;
  /** The tokens that are accepted; undefined: all requests. */
  token: string | undefined = undefined;
  /** It knows `sendInitialEvents`. */
  streams = true;
  pageSize = 500;
  /** Events older than this are gone. */
  oldest = 0;
  /** Answers in the place of the server. True: it has answered. */
  intercept:
    | ((url: URL, request: IncomingMessage, response: ServerResponse) => boolean)
    | undefined;
  /** What is read by its path: Services, Pods. */
  readonly objects = new Map<string, object>([["/version", { gitVersion: "v1.34.0-test" }]]);
  readonly #slices = new Map<string, Stored>();
  readonly #events: Event[] = [];
  readonly #watches = new Set<{ response: ServerResponse; service: string | undefined }>();
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;

  /** `tls`: it speaks TLS, as one that pods ask. */
  constructor(tls?: { readonly cert: string; readonly key: string }) {
    const serve = (request: IncomingMessage, response: ServerResponse): void =>
      this.#serve(request, response);
    this.#server = tls === undefined ? createServer(serve) : createTlsServer(tls, serve);
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
  }

  async listen(port = 0): Promise<number> {
    await new Promise<void>((resolve) => this.#server.listen(port, "127.0.0.1", resolve));
    return (this.#server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Every connection ends with a reset. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  /** The watches end as at their timeout. */
  endWatches(): void {
    for (const { response } of this.#watches) response.end();
  }

  get watching(): number {
    return this.#watches.size;
  }

  lists(): number {
    return this.requests.filter(({ url }) => url.searchParams.get("watch") === null).length;
  }

  watches(): readonly URLSearchParams[] {
    return this.requests
      .map(({ url }) => url.searchParams)
      .filter((query) => query.get("watch") === "true");
  }

  /** Bytes to every watch, as they are. */
  raw(bytes: string | Buffer): void {
    for (const { response } of this.#watches) response.write(bytes);
  }

  /** `silent`: no watch hears of it, as if its event was lost. */
  put(slice: FakeSlice, { silent = false }: { silent?: boolean } = {}): void {
    const version = ++this.version;
    const type = this.#slices.has(slice.name) ? "MODIFIED" : "ADDED";
    const stored = { object: objectOf(slice, version), service: slice.service, version };
    this.#slices.set(slice.name, stored);
    if (!silent) this.#tell({ version, type, stored });
  }

  delete(name: string, { silent = false }: { silent?: boolean } = {}): void {
    const known = this.#slices.get(name);
    if (known === undefined) throw new Error(`there is no slice ${name}`);
    this.#slices.delete(name);
    const version = ++this.version;
    const metadata = { ...(known.object["metadata"] as object), resourceVersion: String(version) };
    const stored = { ...known, object: { ...known.object, metadata }, version };
    if (!silent) this.#tell({ version, type: "DELETED", stored });
  }

  bookmark(): void {
    this.raw(line("BOOKMARK", bookmarkOf(this.version)));
  }

  /** What is here now, to be gone back to: an older API server. */
  save(): () => void {
    const version = this.version;
    const slices = [...this.#slices];
    return () => {
      this.version = version;
      this.#slices.clear();
      for (const [name, stored] of slices) this.#slices.set(name, stored);
    };
  }

  #tell(event: Event): void {
    this.#events.push(event);
    for (const { response, service } of this.#watches) {
      if (service === undefined || service === event.stored.service) {
        response.write(line(event.type, event.stored.object));
      }
    }
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? "/", "http://api");
    const { authorization } = request.headers;
    this.requests.push({ url, authorization });
    if (this.intercept?.(url, request, response) === true) return;
    if (this.token !== undefined && authorization !== `Bearer ${this.token}`) {
      return refuse(response, 401, "Unauthorized", "Unauthorized");
    }
    const object = this.objects.get(url.pathname);
    if (object !== undefined) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(object));
      return;
    }
    const document = discoveryDocument(url.pathname);
    if (document !== undefined) {
      response.setHeader("content-type", "application/json");
      response.end(JSON.stringify(document));
      return;
    }
    const query = url.searchParams;
    // Clients that show everything send none.
    const selector = query.get("labelSelector") || "kubernetes.io/service-name";
    const match = /^kubernetes\.io\/service-name(?:=([a-z0-9-]+))?$/.exec(selector);
    if (
      !/^\/apis\/discovery\.k8s\.io\/v1\/namespaces\/[a-z0-9-]+\/endpointslices$/.test(url.pathname)
    ) {
      return refuse(response, 404, "NotFound", "the server could not find the requested resource");
    }
    if (match === null) return refuse(response, 400, "BadRequest", "unable to parse the selector");
    const service = match[1];
    if (query.get("watch") === "true") this.#watch(query, service, response);
    else this.#list(query, service, response);
  }

  #list(query: URLSearchParams, service: string | undefined, response: ServerResponse): void {
    const [version, from] = (query.get("continue") ?? `${this.version}:0`).split(":").map(Number);
    if (version! < this.oldest) {
      return refuse(response, 410, "Expired", "The provided continue parameter is too old");
    }
    const all = [...this.#slices.values()].filter(
      (one) => service === undefined || one.service === service,
    );
    const size = Math.min(Number(query.get("limit") ?? Infinity), this.pageSize);
    const items = all.slice(from, from! + size).map(({ object }) => object);
    const rest = from! + size < all.length ? { continue: `${version}:${from! + size}` } : {};
    const metadata = { resourceVersion: String(version), ...rest };
    response.setHeader("content-type", "application/json");
    response.end(
      JSON.stringify({
        kind: "EndpointSliceList",
        apiVersion: "discovery.k8s.io/v1",
        metadata,
        items,
      }),
    );
  }

  #watch(query: URLSearchParams, service: string | undefined, response: ServerResponse): void {
    const initial = query.get("sendInitialEvents") === "true";
    if (initial && query.get("resourceVersionMatch") !== "NotOlderThan") {
      return refuse(response, 422, "Invalid", "resourceVersionMatch: Required value");
    }
    if (initial && !this.streams) {
      return refuse(response, 422, "Invalid", "sendInitialEvents is forbidden for watch");
    }
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const wanted = ({ stored }: { stored: Stored }): boolean =>
      service === undefined || stored.service === service;
    if (initial) {
      for (const stored of this.#slices.values()) {
        if (wanted({ stored })) response.write(line("ADDED", stored.object));
      }
      response.write(line("BOOKMARK", bookmarkOf(this.version, true)));
    } else {
      const from = Number(query.get("resourceVersion"));
      if (from < this.oldest) {
        const status = {
          kind: "Status",
          code: 410,
          reason: "Expired",
          message: "too old resource version",
        };
        response.end(line("ERROR", status));
        return;
      }
      for (const event of this.#events) {
        if (event.version > from && wanted(event)) {
          response.write(line(event.type, event.stored.object));
        }
      }
    }
    const watch = { response, service };
    this.#watches.add(watch);
    response.on("close", () => this.#watches.delete(watch));
  }
}

export function refuse(
  response: ServerResponse,
  code: number,
  reason: string,
  message: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(code, { "content-type": "application/json", ...headers });
  response.end(
    JSON.stringify({ kind: "Status", apiVersion: "v1", status: "Failure", code, reason, message }),
  );
}

const line = (type: string, object: unknown): string => `${JSON.stringify({ type, object })}\n`;

function bookmarkOf(version: number, isEnd = false): object {
  const annotations = isEnd ? { annotations: { "k8s.io/initial-events-end": "true" } } : {};
  return {
    kind: "EndpointSlice",
    apiVersion: "discovery.k8s.io/v1",
    metadata: { resourceVersion: String(version), ...annotations },
    addressType: "",
    endpoints: null,
    ports: null,
  };
}

function objectOf(slice: FakeSlice, version: number): Record<string, unknown> {
  const { name, service, ports = [{ name: "http", port: 80 }], endpoints = [] } = slice;
  return {
    kind: "EndpointSlice",
    apiVersion: "discovery.k8s.io/v1",
    metadata: {
      name,
      namespace: "shop",
      resourceVersion: String(version),
      labels: { "kubernetes.io/service-name": service, ...slice.labels },
      ...(slice.annotations && { annotations: slice.annotations }),
    },
    addressType: slice.addressType ?? "IPv4",
    ports: ports?.map((port) => ({ protocol: "TCP", ...port })) ?? null,
    endpoints: endpoints.map(({ address, uid, zone, node, pod, forZones, ...conditions }) => ({
      addresses: [address],
      conditions,
      ...(uid !== undefined && { targetRef: { kind: "Pod", name: pod ?? `pod-${uid}`, uid } }),
      ...(zone !== undefined && { zone }),
      ...(node !== undefined && { nodeName: node }),
      ...(forZones && { hints: { forZones: forZones.map((one) => ({ name: one })) } }),
    })),
  };
}
