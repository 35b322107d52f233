/**
 * `mesh.agent()`: an `http.Agent` whose requests to configured services each go to an endpoint that
 * the balancer picks. Discovery, route and limits, breaker, deadline (body included) and metrics are
 * those of any call, and a connection that cannot be opened is tried at another endpoint. What an
 * Agent cannot do: it does not own the request's bytes, so once they have a connection nothing is
 * sent a second time (no retry, no hedge), and `backendRequest` has no effect. HTTP/1 only.
 *
 * Requests to other origins go through a plain Agent as they are.
 */
import type { Agent, ClientRequest } from "node:http";
import type { Socket } from "node:net";
import type { Mesh } from "@inmesh/core";
import type { Service } from "@inmesh/core/spi";
import { borrow, type Lease } from "../client/lease.ts";
import type { HttpReply } from "../client/reply.ts";
import type { HttpRequest } from "../client/request.ts";
import { AgentRequest, watch } from "./agent-request.ts";
import { Origins } from "./origins.ts";

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
}

/** And what an agent asks of a request. */
type Served = ClientRequest & {
  onSocket(socket: Socket | null, error?: Error): void;
  readonly timeout?: number;
};

export class MeshAgent extends NodeAgent implements Asked {
  readonly protocol: string;
  readonly defaultPort: number;
  readonly #origins: Origins;
  #plain: (Agent & Asked) | undefined = undefined;

  constructor(mesh: Mesh, scheme: "http" | "https") {
    super({ keepAlive: true });
    this.protocol = `${scheme}:`;
    this.defaultPort = scheme === "https" ? 443 : 80;
    this.#origins = new Origins(mesh);
  }

  addRequest(request: ClientRequest, options: RequestTarget): void {
    const service = this.#serviceOf(options);
    if (service === undefined) return this.#plainAgent().addRequest(request, options);
    const asked = request as Served;
    borrow(service, new AgentRequest(request, service.config)).then(
      (lease) => serve(asked, lease),
      (error: Error) => asked.onSocket(null, error),
    );
  }

  /** Closes the connections to other origins; those of services belong to the mesh. */
  override destroy(): void {
    this.#plain?.destroy();
  }

  #serviceOf({ host, port, socketPath }: RequestTarget): HttpService | undefined {
    if (socketPath !== undefined && socketPath !== null) return undefined;
    const name = host ?? "localhost";
    const shown = name.includes(":") ? `[${name}]` : name;
    return this.#origins.serviceOf(`${this.protocol}//${shown}:${port ?? this.defaultPort}`);
  }

  #plainAgent(): Agent & Asked {
    if (this.#plain === undefined) {
      const { Agent: Plain } = process.getBuiltinModule(
        this.protocol === "https:" ? "node:https" : "node:http",
      );
      this.#plain = new Plain({ keepAlive: true }) as Agent & Asked;
    }
    return this.#plain;
  }
}

type HttpService = Service<HttpRequest, HttpReply>;

function serve(request: Served, lease: Lease): void {
  if (request.destroyed) {
    lease.discard();
    // It tells nobody of its end before it was given something.
    request.onSocket(null);
    return;
  }
  watch(request, lease);
  lease.onCancel = (error) => request.destroy(error);
  const { socket } = lease;
  // node's own Agent does the same: clients read it to know a keep-alive race when they see one.
  request.reusedSocket = socket.bytesWritten > 0;
  request.onSocket(socket);
  if (request.timeout !== undefined) socket.setTimeout(request.timeout);
}
