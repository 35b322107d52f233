/**
 * R36: requests that no connection brought. With an adapter of a platform they come from remote clients,
 * so their heads are read, checked and counted as those of any other request.
 */
import { IncomingMessage, ServerResponse, type RequestListener } from "node:http";
import inject, { type DispatchFunc, type InjectOptions } from "light-my-request";
import { context } from "@inmesh/core";
import { meshServer, type MeshServer, type ServerOptions } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { until } from "./wire.ts";

interface Served {
  readonly server: MeshServer;
  call(options: InjectOptions): Promise<{ readonly statusCode: number; readonly body: string }>;
}

function serve(options: ServerOptions, handler?: RequestListener): Served {
  const server = meshServer(handler ?? ((_request, response) => void response.end("ok")), options);
  onTestFinished(() => server.close(0));
  const emit: DispatchFunc = (request, response) =>
    void server.server.emit("request", request, response);
  return { server, call: (given) => inject(emit, { url: "/", ...given }) };
}

const REFUSED: readonly (readonly [string, ServerOptions, InjectOptions, number, string])[] = [
  ["another host", { authorities: ["a.example"] }, { authority: "b.example" }, 421, "misdirected"],
  ["a host that is none", {}, { headers: { host: "a b" } }, 400, "bad_host"],
  [
    "a name with `_`",
    { refuseUnderscores: true },
    { headers: { x_y: "1" } },
    400,
    "bad_header_name",
  ],
  ["no time left", {}, { headers: { "x-mesh-timeout-ms": "0" } }, 504, "expired_on_arrival"],
  ["a value that is too long", {}, { headers: { a: "x".repeat(70_000) } }, 431, "header_too_large"],
  [
    "a head that is too large",
    { limits: { maxHeaderBytes: 8_192 } },
    { headers: { a: "x".repeat(5_000), b: "x".repeat(5_000) } },
    431,
    "header_too_large",
  ],
  ["a target that is too long", {}, { url: `/${"x".repeat(70_000)}` }, 414, "target_too_long"],
  ["the method TRACE", {}, { method: "TRACE" as never }, 405, "method_not_allowed"],
  ["too many hops", { posture: "mesh" }, { headers: { "x-mesh-hops": "99" } }, 508, "loop"],
];

describe("R36 LS: heads of requests without a connection", () => {
  it.each(REFUSED)(
    "R36 LS: %s is refused and counted",
    async (_name, options, given, status, why) => {
      let handled = 0;
      const { server, call } = serve(options, (_request, response) => {
        handled++;
        response.end();
      });
      const reply = await call({ method: "POST", payload: "body", ...given });
      expect([reply.statusCode, reply.body, handled]).toEqual([status, `${why}\n`, 0]);
      expect(server.snapshot()).toMatchObject({ requestsInFlight: 0, refused: { [why]: 1 } });
    },
  );

  it("R36 LS: the deadline is that of the request, and its fields are not the handler's to see", async () => {
    let leftMs = 0;
    let names: string[] = [];
    const { call } = serve({}, (request, response) => {
      leftMs = context.getStore()!.deadlineAt - performance.now();
      names = [...Object.keys(request.headers), ...request.rawHeaders];
      response.end();
    });
    await call({ headers: { "X-Mesh-Timeout-Ms": "5000", "x-mesh-peer": "a", "x-own": "1" } });
    expect(leftMs).toBeGreaterThan(4_000);
    expect(leftMs).toBeLessThanOrEqual(5_000);
    expect(names.filter((name) => /mesh/i.test(name))).toEqual([]);
    expect(names.filter((name) => name === "x-own")).toHaveLength(2);
  });

  it("R36 LS: those in progress are counted, and too many are refused", async () => {
    const held: ServerResponse[] = [];
    const { server, call } = serve({ limits: { maxInFlight: 2 } }, (_request, response) => {
      held.push(response);
    });
    const calls = [call({}), call({})];
    await until(() => held.length === 2);
    expect(server.snapshot().requestsInFlight).toBe(2);
    expect((await call({})).statusCode).toBe(503);
    for (const response of held) response.end("late");
    for (const reply of await Promise.all(calls)) expect(reply.body).toBe("late");
    expect(server.snapshot().requestsInFlight).toBe(0);
  });

  it("R36 LS: an adapter that gives `headers` alone, in its own spelling, and a response without a socket", () => {
    const seen: unknown[] = [];
    const { server } = serve({}, (request, response) => {
      seen.push(request.headers, context.getStore()!.deadlineAt < Infinity);
      response.end();
    });
    const request = new IncomingMessage(undefined as never);
    const headers = {
      "X-Mesh-Peer": "a",
      "x-mesh-timeout-ms": 900,
      "x-own": ["1", "2"],
      host: "a",
    };
    Object.assign(request, { url: "/", method: "GET", headers });
    const response = new ServerResponse(request);
    server.server.emit("request", request, response);
    expect(seen).toEqual([{ "x-own": ["1", "2"], host: "a" }, true]);
    expect([response.statusCode, server.snapshot().requestsInFlight]).toEqual([200, 0]);
  });

  it("R36 LS: a response that closes without an end leaves the count, and its context knows", async () => {
    const { server, call } = serve({}, (_request, response) => void response.destroy());
    await call({}).catch(() => {});
    expect(server.snapshot().requestsInFlight).toBe(0);
  });
});
