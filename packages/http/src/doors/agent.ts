/**
 * `mesh.agent()`: an `http.Agent` whose requests to configured services each go to an endpoint that
 * the balancer picks. Discovery, route and limits, breaker, deadline (body included) and metrics are
 * those of any call, and a connection that cannot be opened is tried at another endpoint. What an
 * Agent cannot do: it does not own the request's bytes, so once they have a connection nothing is
 * sent a second time (no retry, no hedge), and `backendRequest` has no effect. HTTP/1 only.
 *
 * Requests to other origins go through Node's global agent (`http.globalAgent`, `https.globalAgent`) of
 * that time. Errors have Node's codes (agent-error.ts).
 */
import type { Agent, ClientRequest } from "node:http";
import type { Mesh } from "@inmesh/core";
import { MeshError, stacklessError } from "@inmesh/core/spi";
import { Lease } from "../client/lease.ts";
import { callOf, type HttpService } from "../client/start.ts";
import { expectAgents, proxyEnvOf, type AgentsRequest } from "../node-internals.ts";
import { asAgentError } from "./agent-error.ts";
import { AgentRequest, watch } from "./agent-request.ts";
import { activeMock } from "./application-dispatcher.ts";
import { Origins } from "./origins.ts";
import { WaitingRequest } from "./waiting-request.ts";

/** An `import` reads every export, and one getter of node:http loads the whole built-in fetch. */
const NodeAgent: typeof Agent = process.getBuiltinModule("node:http").Agent;

/** What node:http asks of an agent: not in the types, but what every Agent on npm relies on. */
interface Asked {
  addRequest(request: ClientRequest, options: RequestTarget): void;
}

interface RequestTarget {
  readonly host?: string | null;
  readonly port?: number | string | null;
  readonly socketPath?: string | null;
  readonly timeout?: number | null;
}

export class MeshAgent extends NodeAgent implements Asked {
  readonly protocol: string;
  readonly defaultPort: number;
  readonly #origins: Origins;
  #plain: Agent | undefined = undefined;

  /** Throws an Error on a version of Node whose requests do not ask agents in the way of those we know. */
  constructor(mesh: Mesh, scheme: "http" | "https") {
    expectAgents();
    const proxyEnv = proxyEnvOf(globalAgentOf(scheme));
    // node writes a request for the proxy as it is made, if its agent has one.
    super({ keepAlive: true, ...(proxyEnv === undefined ? {} : { proxyEnv }) });
    this.protocol = `${scheme}:`;
    this.defaultPort = scheme === "https" ? 443 : 80;
    this.#origins = new Origins(mesh);
  }

  addRequest(request: ClientRequest, options: RequestTarget): void {
    try {
      const origin = this.#originOf(options);
      const service = origin === undefined ? undefined : this.#origins.serviceOf(origin);
      if (service === undefined) this.#globalAgent().addRequest(request, options);
      else lead(request, service, origin!, options.timeout ?? 0);
    } catch (error) {
      (request as AgentsRequest).onSocket(null, asAgentError(error));
    }
  }

  /** Connections to services belong to the mesh, others to Node's global agent. */
  override destroy(): void {
    this.#plain?.destroy();
  }

  #originOf({ host, port, socketPath }: RequestTarget): string | undefined {
    if (socketPath !== undefined && socketPath !== null) return undefined;
    const name = host ?? "localhost";
    const shown = name.includes(":") ? `[${name}]` : name;
    return `${this.protocol}//${shown}:${port ?? this.defaultPort}`;
  }

  /** A global agent with another proxy than requests were written for, or that is a mesh's, is none for them. */
  #globalAgent(): Agent & Asked {
    const scheme = this.protocol === "https:" ? "https" : "http";
    const agent = globalAgentOf(scheme);
    const other =
      agent instanceof MeshAgent || (scheme === "http" && proxyOf(agent) !== proxyOf(this));
    return (other ? (this.#plain ??= makePlain(scheme)) : agent) as Agent & Asked;
  }
}

/** As text: node may give each agent an object of its own. */
function proxyOf(agent: Agent): string | undefined {
  const proxyEnv = proxyEnvOf(agent);
  return proxyEnv === undefined ? undefined : JSON.stringify(proxyEnv);
}

function globalAgentOf(scheme: "http" | "https"): Agent {
  return process.getBuiltinModule(scheme === "https" ? "node:https" : "node:http").globalAgent;
}

function makePlain(scheme: "http" | "https"): Agent {
  const { Agent: Plain } = process.getBuiltinModule(
    scheme === "https" ? "node:https" : "node:http",
  );
  return new Plain({ keepAlive: true });
}

/** Throws a MeshError if the mesh does not take the request. */
function lead(
  request: ClientRequest,
  service: HttpService,
  origin: string,
  timeoutMs: number,
): void {
  if (activeMock() !== undefined) throw mocked(service.name);
  unproxy(request, origin);
  const own = new AgentRequest(request, service.config, origin);
  const call = callOf(service, own, undefined);
  const waiting = new WaitingRequest(request, timeoutMs, service.runtime, () =>
    call.cancel(leftError(service.name), "abandoned"),
  );
  service.current(call).then(
    (given) => {
      if (!waiting.end()) given.discard();
      else if (given instanceof Lease) serve(waiting, given, service);
      else {
        given.discard();
        waiting.request.onSocket(null, asAgentError(answered(service.name)));
      }
    },
    (error: unknown) => {
      if (waiting.end()) waiting.request.onSocket(null, asAgentError(error));
    },
  );
}

/** A request that node has written for the proxy of the environment: services are reached directly. */
function unproxy(request: ClientRequest, origin: string): void {
  if (!request.path.startsWith("http://") || request.headersSent) return;
  const { host, pathname, search } = new URL(request.path);
  if (host !== new URL(origin).host || !request.hasHeader("proxy-connection")) return;
  request.path = pathname + search;
  request.removeHeader("proxy-connection");
  request.removeHeader("proxy-authorization");
}

function serve(
  { request, timeoutMs, timedOut }: WaitingRequest,
  lease: Lease,
  service: HttpService,
): void {
  watch(request, lease, service.config);
  const { socket } = lease;
  // node's own Agent does the same: clients read it to know a keep-alive race when they see one.
  request.reusedSocket = socket.bytesWritten > 0;
  request.onSocket(socket);
  if (timeoutMs > 0 && !timedOut) socket.setTimeout(timeoutMs);
}

function leftError(service: string): MeshError {
  const message = `${service}: the request was destroyed before it had a connection`;
  return stacklessError("cancelled", "caller", "not-sent", message);
}

function answered(service: string): MeshError {
  return new MeshError({
    code: "denied",
    reason: "policy",
    message: `${service}: a layer of the application (callLayers, attemptLayers) answered in place of the service, and a request of node:http takes a connection alone: let its requests through, or send them with mesh.fetch`,
    progress: "not-sent",
  });
}

function mocked(service: string): MeshError {
  return new MeshError({
    code: "denied",
    reason: "policy",
    message: `${service}: a MockAgent is the global dispatcher, and it cannot answer requests of node:http: mock those where they are made, or deactivate it`,
    progress: "not-sent",
  });
}
