/** Taps and access logs over HTTP on real sockets, both directions. */
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import {
  accessLog,
  type Mesh,
  type MeshOptions,
  parseTapOptions,
  type TapCall,
  type TapEvent,
  type TapRequest,
} from "@inmesh/core";
import { meshClient, meshServer } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { httpMeshOf } from "./support/doors.ts";
import { meshOf, serve } from "./wire.ts";

const TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/** A server that answers as its path says, with a mesh of its own. */
async function shop(mesh: Mesh, http2 = false) {
  let asked = 0;
  const server = meshServer(
    async (incoming, response) => {
      incoming.resume();
      const { pathname } = new URL(incoming.url!, "http://orders");
      if (pathname === "/slow") await wait(60);
      if (pathname === "/once" && asked++ === 0) response.statusCode = 503;
      if (pathname === "/500") response.statusCode = 500;
      if (pathname === "/pieces") {
        response.write("abc");
        response.write(Buffer.from("de"));
        return void response.end("f");
      }
      response.end("hello");
    },
    { mesh, name: "shop", http2 },
  );
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  return `127.0.0.1:${port}`;
}

async function read<T extends TapEvent>(
  tap: AsyncIterator<TapEvent, undefined>,
  count: number,
): Promise<T[]> {
  const events: TapEvent[] = [];
  while (events.length < count) {
    const { value } = await tap.next();
    if (value === undefined) break;
    events.push(value);
  }
  return events as T[];
}

describe.each([
  ["HTTP/1", false],
  ["HTTP/2", true],
])("%s", (_, http2) => {
  it("a tap shows what was called, with every attempt, and what was served, of one trace", async () => {
    const mesh = meshOf({});
    const address = await shop(mesh, http2);
    const client = meshClient("orders", { mesh, http2, discovery: { static: [address] } });
    const out = mesh.tap({ direction: "outbound", headers: true, query: true });
    const inside = mesh.tap({ direction: "inbound", headers: true });
    const reply = await client.fetch("/once?card=42", {
      headers: { traceparent: TRACEPARENT, authorization: "Bearer canary", "x-tenant": "7" },
    });
    expect(await reply.text()).toBe("hello");
    const [call] = await read<TapCall>(out, 1);
    const [failed, served] = await read<TapRequest>(inside, 2);
    expect(call).toMatchObject({
      protocol: "http",
      service: "orders",
      route: "default",
      method: "GET",
      path: "/once",
      query: "card=42",
      status: 200,
      outcome: "success",
      traceId: "4bf92f3577b34da6a3ce929d0e0e4736",
      receivedBytes: 10,
    });
    expect(call!.headers).toMatchObject({ authorization: "[redacted]", "x-tenant": "7" });
    expect(call!.attempts.map(({ kind, status, endpoint }) => [kind, status, endpoint])).toEqual([
      ["first", 503, address],
      ["retry", 200, address],
    ]);
    for (const { queuedMs, headMs, durationMs } of call!.attempts) {
      expect(headMs).toBeGreaterThanOrEqual(queuedMs!);
      expect(durationMs).toBeGreaterThanOrEqual(headMs!);
    }
    expect(Math.abs(call!.at - Date.now())).toBeLessThan(60_000);
    expect(failed).toMatchObject({ direction: "inbound", status: 503, attempt: 1, path: "/once" });
    expect(served).toMatchObject({
      service: "shop",
      route: "default",
      status: 200,
      attempt: 2,
      traceId: call!.traceId,
      peer: { address: "127.0.0.1", tls: false },
    });
    expect(served!.query).toBeUndefined();
    expect(served!.headers).toMatchObject({ authorization: "[redacted]", "x-tenant": "7" });
    expect(JSON.stringify([call, failed, served])).not.toContain("canary");
  });

  it("an access log has a line for each request, with the size of its reply", async () => {
    const { lines, mesh } = logged({});
    const address = await shop(mesh, http2);
    const client = meshClient("orders", {
      mesh,
      http2,
      retry: { attempts: 1 },
      discovery: { static: [address] },
    });
    for (const path of ["/a?token=canary", "/pieces", "/500"]) {
      await (await client.fetch(path, { headers: { "user-agent": 'me "1"' } })).text();
    }
    await (await client.fetch("/head", { method: "HEAD" })).text();
    await mesh.close();
    const all = lines().map((line) => JSON.parse(line) as Record<string, unknown>);
    const shown = all.map((one) => [
      one["http.request.method"],
      one["url.path"],
      one["http.response.status_code"],
      one["http.response.body.size"],
    ]);
    expect(shown).toEqual([
      ["GET", "/a", 200, 5],
      ["GET", "/pieces", 200, 6],
      ["GET", "/500", 500, 5],
      ["HEAD", "/head", 200, 0],
    ]);
    expect(all[0]).toMatchObject({
      "inmesh.direction": "inbound",
      "inmesh.service": "shop",
      "inmesh.outcome": "success",
      "network.peer.address": "127.0.0.1",
      "network.protocol.version": http2 ? "2" : "1.1",
      "user_agent.original": 'me "1"',
    });
    expect(JSON.stringify(all)).not.toContain("canary");
  });
});

it("a filter in text finds the slow and the failed at the end of the call", async () => {
  const mesh = meshOf({});
  const address = await shop(mesh);
  const client = meshClient("orders", {
    mesh,
    retry: { attempts: 1 },
    discovery: { static: [address] },
  });
  const slow = mesh.tap(parseTapOptions("service=orders minLatencyMs=50"));
  const failed = mesh.tap(parseTapOptions("status=5xx direction=outbound"));
  for (const path of ["/a", "/slow", "/500", "/b"]) await (await client.fetch(path)).text();
  slow.end();
  failed.end();
  expect((await read<TapCall>(slow, 9)).map(({ path }) => path)).toContain("/slow");
  expect((await read<TapCall>(failed, 9)).map(({ path }) => path)).toEqual(["/500"]);
});

it("calls over mesh.agent() are shown with the headers that node:http sends", async () => {
  const inner = await serve((_, response) => response.end("x"));
  const mesh = httpMeshOf({ orders: { url: `http://${inner.address}` } });
  const tap = mesh.tap({ headers: true });
  await new Promise<void>((resolve, reject) => {
    request("http://orders/agent?a=b", {
      agent: mesh.agent(),
      headers: { "X-Tenant": "7", Cookie: "canary" },
    })
      .on("response", (reply) => reply.resume().on("end", resolve))
      .on("error", reject)
      .end();
  });
  const [call] = await read<TapCall>(tap, 1);
  expect(call).toMatchObject({ path: "/agent", status: 200 });
  expect(call!.headers).toMatchObject({ "x-tenant": "7", cookie: "[redacted]" });
});

it("what a client sends cannot write a line of its own, nor reach a terminal", async () => {
  for (const format of ["json", "combined"] as const) {
    const { lines, mesh } = logged({ format, query: true });
    const address = await shop(mesh);
    const [host, port] = address.split(":");
    await new Promise<void>((resolve, reject) => {
      request({
        host,
        port,
        path: '/a%0ab"c?d=\u00ff',
        headers: {
          "user-agent": 'evil\u009b31m "\\ \u202e',
          referer: `http://x/${"a".repeat(5_000)}`,
        },
        insecureHTTPParser: true,
      })
        .on("response", (reply) => reply.resume().on("end", resolve))
        .on("error", reject)
        .end();
    }).catch(() => {});
    await mesh.close();
    const [line, ...more] = lines();
    expect(more).toEqual([]);
    // oxlint-disable-next-line no-control-regex
    expect(line ?? "").not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);
  }
});

/** A mesh with an access log in a file. */
function logged(options: { format?: "json" | "combined"; query?: boolean; outbound?: boolean }) {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-log-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "access.log");
  const stream = createWriteStream(file);
  onTestFinished(() => void stream.destroy());
  const exporters: MeshOptions["exporters"] = [accessLog({ stream, ...options })];
  const lines = (): string[] => readFileSync(file, "utf8").split("\n").slice(0, -1);
  return { mesh: meshOf({ exporters }), lines };
}
