/** What the mesh writes goes to services of its own, and not to third parties; see docs/reference/headers.md. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, get, type IncomingHttpHeaders, type RequestListener } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { context, ServedRequest, type ServiceInput } from "@inmesh/core";
import { HTTP, meshClient } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { USER_AGENT_TEXT } from "../src/headers.ts";
import { doorsOf, httpMeshOf } from "./support/doors.ts";
import { failureOf } from "./wire.ts";

const TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const OURS = /^(?:x-mesh-.*|traceparent|tracestate)$/;

async function serveWith(http2: boolean, listener: RequestListener): Promise<string> {
  const server = http2 ? createHttp2(listener as never) : createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function ours(headers: IncomingHttpHeaders | undefined): string[] {
  return Object.keys(headers!).filter((name) => OURS.test(name));
}

describe.each([false, true])("LC: http2 is %s", (http2) => {
  it("nothing of the mesh goes to a service that is no peer, by any door and any attempt", async () => {
    const heads: IncomingHttpHeaders[] = [];
    const address = await serveWith(http2, (request, response) => {
      heads.push(request.headers);
      response.statusCode = heads.length === 1 ? 503 : 200;
      response.end();
    });
    const input: ServiceInput = { http2, peer: false };
    const mesh = doorsOf([address], input);
    const client = meshClient("orders", { mesh });
    const served = new ServedRequest({
      traceparent: TRACE,
      tracestate: "a=1",
      priority: "critical",
    });
    const reply = await context.run(served, async () => {
      const first = await client.fetch("/", { timeoutMs: 5_000 });
      await (await mesh.fetch("http://orders/")).arrayBuffer();
      const asked = { origin: "http://orders", path: "/", method: "GET" } as const;
      await (await mesh.dispatcher.request(asked)).body.dump();
      if (http2) return first;
      await new Promise<void>((resolve, reject) => {
        get("http://orders/", { agent: mesh.agent() }, (incoming) => {
          incoming.resume().on("end", resolve);
        }).on("error", reject);
      });
      return first;
    });
    expect(reply.mesh.attempts).toBe(2);
    expect(heads).toHaveLength(http2 ? 4 : 5);
    expect(heads.flatMap(ours)).toEqual([]);
    expect(heads[0]!["user-agent"]).toBe(USER_AGENT_TEXT);
    await client.fetch("/", { headers: { "User-Agent": "own", traceparent: TRACE } });
    expect(heads.at(-1)).toMatchObject({ "user-agent": "own", traceparent: TRACE });
  });

  it("to a peer it goes, and no user-agent", async () => {
    const heads: IncomingHttpHeaders[] = [];
    const address = await serveWith(http2, (request, response) => {
      heads.push(request.headers);
      response.end();
    });
    const mesh = doorsOf([address], { http2 });
    const served = new ServedRequest({ traceparent: TRACE });
    await context.run(served, () => meshClient("orders", { mesh }).fetch("/"));
    expect(ours(heads[0]).sort()).toEqual(["traceparent", "x-mesh-hops", "x-mesh-timeout-ms"]);
    expect(heads[0]).not.toHaveProperty("user-agent");
  });
});

it("LC: a deadline holds at a service that is no peer, although it gets no header", async () => {
  const address = await serveWith(false, () => {});
  const client = meshClient("orders", { mesh: doorsOf([address], { peer: false }) });
  const error = await failureOf(client.fetch("/", { timeoutMs: 50 }));
  expect(error).toMatchObject({ code: "deadline_exceeded" });
});

it("LC: an https URL in code is no peer; what a configuration names, and an http URL, is", () => {
  const mesh = httpMeshOf({
    named: { url: "https://named.example" },
    partner: { url: "https://partner.example", peer: false },
  });
  const isPeer = (nameOrUrl: string, input?: ServiceInput): boolean => {
    const service = mesh.service(nameOrUrl, HTTP, input);
    return service.config.peer;
  };
  expect(isPeer("named")).toBe(true);
  expect(isPeer("https://named.example")).toBe(false);
  expect(isPeer("partner")).toBe(false);
  expect(isPeer("http://plain.example:8080")).toBe(true);
  expect(isPeer("http://other.example:8080", { retry: { attempts: 1 } })).toBe(true);
  expect(isPeer("https://api.example")).toBe(false);
  expect(isPeer("https://more.example", { retry: { attempts: 1 } })).toBe(false);
  expect(isPeer("https://ours.example", { peer: true })).toBe(true);
});

it("LC: the user-agent has the version of the package", () => {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  expect(USER_AGENT_TEXT).toBe(`inmesh/${(JSON.parse(text) as { version: string }).version}`);
});
