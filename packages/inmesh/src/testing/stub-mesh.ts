/**
 * `stubMesh`: services for a test, without their processes. The mesh is a real one and so is the way to
 * it: each service is a small HTTP server on the loopback address. Retries, deadlines, breakers and every
 * door (client, fetch, dispatcher, agent) therefore behave as in production.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { MeshInput, ServiceInput } from "@inmesh/core";
import {
  NodeRuntime,
  stackOf,
  staticDiscovery,
  useAsDefaultMesh,
  type Runtime,
} from "@inmesh/core/spi";
import { createMesh, type HttpMesh } from "@inmesh/http";
import type { StubAnswer, StubFault, StubReply } from "./answers.ts";
import { readStubRequest, type StubRequest } from "./stub-request.ts";

/**
 * By service, by request: `{ orders: { "GET /v1/orders/1": json({ id: 1 }) } }`. The method may be `*`;
 * a path that ends in `/*` is a prefix. The exact path goes before the longest prefix, a method before `*`.
 */
export type StubAnswers = Readonly<Record<string, Readonly<Record<string, StubAnswer>>>>;

export interface StubOptions {
  /** Policies of the services as in a configuration; where they are is the stub's affair. Default: the defaults. */
  readonly services?: Readonly<Record<string, ServiceInput>>;
  /** Makes it the default mesh until it is closed, for code under test that names none. Default false. */
  readonly asDefault?: boolean;
}

export interface StubMesh extends AsyncDisposable {
  readonly mesh: HttpMesh;
  /** Every request that arrived, in order; those of one service if it is named. */
  requests(service?: string): readonly StubRequest[];
  /** Requests for which no answer was given: `orders: GET /v1/nothing`. They got 501 and a sentence. */
  readonly unanswered: readonly string[];
  /** Closes the mesh and the servers; requests that are still open are reset. */
  close(): Promise<void>;
}

interface Rule {
  readonly method: string;
  readonly path: string;
  readonly isPrefix: boolean;
  readonly answer: StubAnswer;
}

/**
 * Starts the servers and the mesh. Rejects with a TypeError that names every entry which is not
 * `"METHOD /path"`, and with a ConfigError if `services` has mistakes.
 */
export async function stubMesh(answers: StubAnswers, options: StubOptions = {}): Promise<StubMesh> {
  const mistakes: string[] = [];
  const services = new Map(
    Object.entries(answers).map(([name, rules]) => [name, rulesOf(name, rules, mistakes)]),
  );
  for (const name of Object.keys(options.services ?? {})) {
    if (!services.has(name)) mistakes.push(`services.${name}: has no answers`);
  }
  if (mistakes.length > 0) throw new TypeError(`stubMesh: ${mistakes.join("; ")}`);
  const runtime = new NodeRuntime();
  const requests: StubRequest[] = [];
  const unanswered: string[] = [];
  const servers = new Map<string, Server>();
  for (const [name, rules] of services) {
    const server = createServer((request, response) => {
      void serve({ service: name, rules, requests, unanswered, runtime }, request, response);
    });
    servers.set(name, server);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    // A test that forgets to close it still ends.
    server.unref();
  }
  const closeServers = (): void => {
    for (const server of servers.values()) {
      server.closeAllConnections();
      server.close();
    }
  };
  let mesh: HttpMesh;
  try {
    mesh = createMesh({
      config: configOf(servers, options.services ?? {}),
      runtime,
      // A stub is the same on every machine.
      env: {},
      discovery: ({ name }) => {
        const server = servers.get(name);
        return server === undefined ? undefined : staticDiscovery([endpointOf(server)]);
      },
    });
  } catch (error) {
    closeServers();
    throw error;
  }
  const restore = options.asDefault === true ? useAsDefaultMesh(mesh) : undefined;
  const close = async (): Promise<void> => {
    restore?.();
    closeServers();
    await mesh.close(0);
  };
  return {
    mesh,
    requests: (service) =>
      service === undefined ? requests : requests.filter((one) => one.service === service),
    unanswered,
    close,
    [Symbol.asyncDispose]: close,
  };
}

function endpointOf(server: Server): { readonly host: string; readonly port: number } {
  return { host: "127.0.0.1", port: (server.address() as AddressInfo).port };
}

function configOf(
  servers: ReadonlyMap<string, Server>,
  given: Readonly<Record<string, ServiceInput>>,
): MeshInput {
  const services: Record<string, ServiceInput> = {};
  for (const [name, server] of servers) {
    services[name] = { ...given[name], discovery: { static: [endpointOf(server)] } };
  }
  return { services };
}

function rulesOf(
  service: string,
  answers: Readonly<Record<string, StubAnswer>>,
  mistakes: string[],
): Rule[] {
  return Object.entries(answers).flatMap(([key, answer]) => {
    const [, method = "", path = ""] = /^(\*|[A-Z]+) (\/\S*)$/.exec(key) ?? [];
    if (path === "" || path.includes("?")) {
      mistakes.push(`${service}: ${JSON.stringify(key)} must be "METHOD /path", without a query`);
      return [];
    }
    const isPrefix = path.endsWith("/*");
    return [{ method, path: isPrefix ? path.slice(0, -1) : path, isPrefix, answer }];
  });
}

/** The exact path, else the longest prefix; among those the one that names the method. */
function ruleFor(rules: readonly Rule[], { method, path }: StubRequest): Rule | undefined {
  let best: Rule | undefined;
  for (const rule of rules) {
    if (rule.method !== "*" && rule.method !== method) continue;
    if (rule.isPrefix ? !path.startsWith(rule.path) : rule.path !== path) continue;
    if (best === undefined || rank(rule) > rank(best)) best = rule;
  }
  return best;
}

function rank({ method, path, isPrefix }: Rule): number {
  const length = isPrefix ? path.length : Number.MAX_SAFE_INTEGER / 4;
  return length * 2 + (method === "*" ? 0 : 1);
}

interface Stubbed {
  readonly service: string;
  readonly rules: readonly Rule[];
  readonly requests: StubRequest[];
  readonly unanswered: string[];
  readonly runtime: Runtime;
}

async function serve(
  { service, rules, requests, unanswered, runtime }: Stubbed,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  try {
    const request = await readStubRequest(service, incoming);
    requests.push(request);
    const rule = ruleFor(rules, request);
    if (rule === undefined) {
      const missing = `${request.method} ${request.path}`;
      unanswered.push(`${service}: ${missing}`);
      const known = rules.map((one) => `${one.method} ${one.path}${one.isPrefix ? "*" : ""}`);
      const body = `stubMesh: ${service} has no answer for ${missing}; it has ${known.join(", ")}\n`;
      await send(
        { status: 501, headers: { "content-type": "text/plain" }, body },
        response,
        runtime,
      );
      return;
    }
    const { answer } = rule;
    const given = typeof answer === "function" ? await answer(request) : answer;
    if ("fault" in given) fail(given, response);
    else await send(given, response, runtime);
  } catch (error) {
    // The answer's own code has thrown: the test sees where.
    if (!response.headersSent) response.writeHead(500, { "content-type": "text/plain" });
    response.end(stackOf(error));
  }
}

async function send(reply: StubReply, response: ServerResponse, runtime: Runtime): Promise<void> {
  const { delayMs } = reply;
  if (delayMs !== undefined)
    await new Promise<void>((done) => runtime.after(delayMs, done, undefined, true));
  response.writeHead(reply.status, reply.headers);
  response.end(reply.body);
}

function fail({ fault }: StubFault, response: ServerResponse): void {
  const { socket } = response;
  if (fault === "reset") socket?.resetAndDestroy();
  else if (fault === "cut") {
    response.writeHead(200, { "content-type": "text/plain", "content-length": "16" });
    response.write("half of ", () => socket?.resetAndDestroy());
  } else if (fault === "garbage") socket?.end("\0\0 this is not HTTP\r\n\r\n");
}
