/**
 * What the API of a process answers: each answer against the published schema, which refuses members that it does not
 * know, and against what has really happened on the sockets below it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import type { LogLine, ServiceInput } from "@inmesh/core";
import {
  attemptsPerCall,
  quantileMs,
  since,
  successRatio,
  type Checks,
  type Config,
  type Connections,
  type Dump,
  type Endpoints,
  type Explanation,
  type Services,
} from "@inmesh/core/inspect";
import { meshClient, meshServer } from "@inmesh/http";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it, onTestFinished } from "vitest";
import { adminOf, ask as askWithoutToken, type Answered, type Opened } from "./support/admin.ts";
import { TestDiscovery, infoOf } from "./support/discovery.ts";
import { folder } from "./support/folders.ts";
import { answering, OK, serve, until } from "./wire.ts";

const FILE = new URL("../../../docs/reference/admin-api.schema.json", import.meta.url);
const ajv = new Ajv2020({ allErrors: true, strict: true });
ajv.addSchema(JSON.parse(readFileSync(FILE, "utf8")) as object, "api");
const NAMES: Readonly<Record<string, string>> = {
  Error: "Failure",
  Discovery: "DiscoveryAnswer",
  LogLevel: "LogLevelAnswer",
  lost: "TapLost",
  outbound: "TapCall",
  inbound: "TapRequest",
};

/** The answer, which the schema knows. */
function valid<T>({ json, status, text }: Answered): T {
  expect(status, text).toBeLessThan(300);
  isValid(json);
  return json as T;
}

function isValid(json: Readonly<Record<string, unknown>>): void {
  const kind = (json["kind"] ?? json["direction"] ?? json["event"]) as string;
  const validate = ajv.getSchema(`api#/$defs/${NAMES[kind] ?? kind}`)!;
  const fits = validate(json);
  const found = (validate.errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath} ${message} ${JSON.stringify(params)}`,
  );
  expect(fits, `${kind}: ${found.join("\n")}`).toBe(true);
  expect(ajv.getSchema("api")!(json), `${kind} is one answer, and no other`).toBe(true);
}

/** What a terminal would act upon. */
const UNSAFE = /[\p{Cc}\u2028\u202e]/u;
const FAILING = "HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n";

/** A mesh with a service of three endpoints: one that works, one that fails, and one that is not there. */
async function busy(more: ServiceInput = {}): Promise<Opened & { readonly addresses: string[] }> {
  const [good, bad] = [await answering(OK), await answering(FAILING)];
  const addresses = [good.address, bad.address, "127.0.0.1:1"];
  const opened = await adminOf({
    orders: { discovery: { static: addresses }, ...more },
    "orders-v2": { discovery: { static: [good.address] } },
  });
  return { ...opened, addresses };
}

async function call(opened: Opened, path: string, times: number, headers = {}): Promise<void> {
  const orders = meshClient("orders", { mesh: opened.mesh });
  for (let i = 0; i < times; i++) {
    await orders.fetch(path, { headers }).then(
      (reply) => reply.text(),
      () => {},
    );
  }
}

describe("every answer is what the schema says", () => {
  it("of a process that has not done anything yet", async () => {
    const { ask } = await adminOf();
    for (const name of [
      "about",
      "services",
      "endpoints",
      "connections",
      "discovery",
      "config",
      "checks",
      "dump",
      "log-level",
    ]) {
      valid(await ask(`/api/v1/${name}`));
    }
  });

  it("of a process that calls and serves, with everything that can be wrong", async () => {
    const opened = await busy({
      routes: [
        {
          name: "gold",
          matches: [{ path: { value: "/v1" }, headers: [{ name: "x-tier", value: "gold" }] }],
          timeouts: { requestMs: 500 },
          backendRefs: [
            { name: "orders", weight: 3 },
            { name: "orders-v2", weight: 1 },
          ],
        },
      ],
    });
    const server = meshServer((_request, response) => void response.end("ok"), {
      mesh: opened.mesh,
      name: "front",
    });
    onTestFinished(() => server.close(0));
    const { port } = await server.listen(0, "127.0.0.1");
    await (await fetch(`http://127.0.0.1:${port}/`)).text();
    await call(opened, "/v1/x", 30, { "x-tier": "gold" });
    await call(opened, "/other", 30);
    const { ask } = opened;
    for (const name of [
      "about",
      "services",
      "endpoints",
      "connections",
      "discovery",
      "config",
      "config?all=true",
      "checks",
      "dump",
    ]) {
      valid(await ask(`/api/v1/${name}`));
    }
    const services = valid<Services>(await ask("/api/v1/services"));
    expect(services.servers).toMatchObject([
      {
        name: "front",
        protocol: "http",
        state: "open",
        readiness: "ok",
        calls: { total: 1, success: 1 },
      },
    ]);
    expect(services.services.map(({ name }) => name)).toEqual(["orders"]);
    const [orders] = services.services;
    expect(orders).toMatchObject({
      protocol: "http",
      state: "connected",
      endpoints: { total: 4, refusing: 1 },
      traffic: { calls: { total: 60 } },
      routes: [
        {
          name: "gold",
          traffic: { calls: { total: 30 } },
          backends: [{ share: 0.75 }, { backend: "orders-v2", share: 0.25 }],
        },
        { name: "default", traffic: { calls: { total: 30 } } },
      ],
    });
    expect(orders!.notes[0]).toMatch(/refuses connections$/);
    expect(orders!.traffic!.attempts.total).toBeGreaterThan(60);
    expect(orders!.traffic!.attemptReasons["connect_refused"]).toBeGreaterThan(0);
    expect(orders!.traffic!.attemptKinds.first).toBe(60);
  });

  it("where measurements go elsewhere: nothing is measured, and the rest is there", async () => {
    const none = { add() {}, record() {} };
    const telemetry = { counter: () => none, histogram: () => none, gauge: () => () => {} };
    const good = await answering(OK);
    const opened = await adminOf(
      { orders: { discovery: { static: [good.address] } } },
      {},
      { telemetry },
    );
    await call(opened, "/", 1);
    const services = valid<Services>(await opened.ask("/api/v1/services"));
    expect(services.measured).toBe(false);
    expect(services.services[0]!.traffic).toBeUndefined();
    expect(services.services[0]!.connections.open).toBe(1);
  });

  it("failures too", async () => {
    const { ask } = await adminOf();
    for (const path of ["/", "/api/v1/", "/api/v1/nothing", "/api/v1/about?x"]) {
      isValid((await ask(path)).json);
    }
    isValid((await ask("/api/v1/about", { headers: { authorization: "Bearer x" } })).json);
  });
});

describe("rates and quantiles", () => {
  it("come from two readings of one instance", async () => {
    const opened = await busy();
    await call(opened, "/", 10);
    const before = valid<Services>(await opened.ask("/api/v1/services?service=orders"));
    await call(opened, "/", 40);
    const after = valid<Services>(await opened.ask("/api/v1/services?service=orders"));
    expect(after.instance).toBe(before.instance);
    expect(after.uptimeMs).toBeGreaterThan(before.uptimeMs);
    const bounds = after.latencyBoundsSeconds;
    const window = since(after.services[0]!.traffic!, before.services[0]!.traffic, bounds);
    expect(window.calls.total).toBe(40);
    expect(window.callLatency.count).toBe(40);
    expect(successRatio(window.calls)).toBe(window.calls.success / 40);
    expect(attemptsPerCall(window)).toBeGreaterThanOrEqual(1);
    expect(window.callLatency.p50Ms).toBe(quantileMs(window.callLatency.counts, bounds, 0.5));
    expect(window.callLatency.p50Ms).toBeLessThan(window.callLatency.p99Ms!);
  });

  it("of nothing are none", async () => {
    const { ask, mesh } = await adminOf({ orders: { url: "http://127.0.0.1:1" } });
    meshClient("orders", { mesh });
    const { services, servers } = valid<Services>(await ask("/api/v1/services?service=orders"));
    expect(servers).toEqual([]);
    const [{ traffic, state }] = services as [Services["services"][number]];
    expect(state).toBe("asleep");
    expect(successRatio(traffic!.calls)).toBeUndefined();
    expect(attemptsPerCall(traffic!)).toBeUndefined();
    expect(traffic!.callLatency.p50Ms).toBeUndefined();
    expect(quantileMs([0, 5, 0], [1, 2], 0.5)).toBe(1_500);
    expect(quantileMs([0, 0, 5], [1, 2], 0.5)).toBe(2_000);
    expect(quantileMs([4, 0, 4], [1, 2], 0.25)).toBe(500);
  });
});

describe("endpoints", () => {
  it("say in which state they are, and why", async () => {
    const opened = await busy({
      breaker: { consecutiveFailures: 3 },
      balancer: { kind: "least-request" },
      retry: { attempts: 1 },
    });
    await call(opened, "/", 60);
    const { endpoints } = valid<Endpoints>(await opened.ask("/api/v1/endpoints?service=orders"));
    const by = new Map(endpoints.map((one) => [one.address, one]));
    const [good, bad, gone] = opened.addresses.map((address) => by.get(address)!);
    expect(good).toMatchObject({
      state: "available",
      breaker: { state: "closed" },
      inFlight: 0,
    });
    expect(bad).toMatchObject({
      state: "open",
      breaker: { state: "open", trigger: "streak", consecutiveFailures: 3 },
    });
    expect(bad!.why).toMatch(/^open since .*: 3 failures in a row; next probe in /);
    expect(bad!.breaker.nextProbeInMs).toBeGreaterThan(0);
    expect(gone).toMatchObject({
      state: "refusing",
      breaker: { trigger: "connect" },
      connections: 0,
    });
    expect(gone!.why).toMatch(/^accepts no connection since /);
    expect(endpoints.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
    expect(endpoints.reduce((sum, { picks }) => sum + picks, 0)).toBeGreaterThanOrEqual(60);
    for (const { ageMs, breaker } of endpoints) {
      expect(ageMs).toBeGreaterThan(0);
      expect(breaker.changedAgoMs ?? 0).toBeLessThan(ageMs + 1);
    }
  });

  it("that drain, weigh nothing, or asked to be spared", async () => {
    const busyReply = "HTTP/1.1 503 Busy\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n";
    const [spared, spare] = [await answering(busyReply), await answering(OK)];
    const discovery = new TestDiscovery();
    const opened = await adminOf(
      { orders: { url: "http://orders" } },
      {},
      { discovery: () => discovery },
    );
    const calling = call(opened, "/", 1);
    await until(() => discovery.sink !== undefined);
    discovery.sink!.replace([
      infoOf(spared.address),
      infoOf(spare.address, { weight: 0, zone: "b" }),
      infoOf("127.0.0.1:9", { draining: true }),
    ]);
    await calling;
    const { endpoints } = valid<Endpoints>(await opened.ask("/api/v1/endpoints"));
    expect(endpoints.map(({ state }) => state)).toEqual(["busy", "spare", "draining"]);
    expect(endpoints[0]!.busyForMs).toBeGreaterThan(1_000);
    expect(endpoints[1]).toMatchObject({ weight: 0, zone: "b" });
    const { services } = valid<Services>(await opened.ask("/api/v1/services"));
    expect(services[0]!.endpoints).toEqual({
      total: 3,
      available: 2,
      open: 0,
      refusing: 0,
      halfOpen: 0,
      draining: 1,
    });
  });
});

it("connections are those that are open", async () => {
  const served = await serve((_request, response) => void response.end("ok"));
  const opened = await adminOf({ orders: { discovery: { static: [served.address] } } });
  await call(opened, "/", 20);
  const { outbound, inbound } = valid<Connections>(await opened.ask("/api/v1/connections"));
  expect(outbound).toMatchObject([
    {
      service: "orders",
      endpoint: served.address,
      open: served.connections,
      maxOpen: 128,
      application: "http/1.1",
      tls: false,
      inFlight: 0,
      queued: 0,
      unread: 0,
    },
  ]);
  expect(inbound).toEqual([]);
  const { endpoints } = valid<Endpoints>(await opened.ask("/api/v1/endpoints"));
  expect(endpoints[0]!.connections).toBe(served.connections);
});

describe("discovery", () => {
  it("says how fresh it is, what it asks, and why it cannot tell", async () => {
    const good = await answering(OK);
    const discovery = new TestDiscovery();
    const opened = await adminOf(
      { orders: { url: "http://orders:8080" } },
      {},
      { discovery: () => discovery },
    );
    const calling = call(opened, "/", 1);
    await until(() => discovery.sink !== undefined);
    const view = async () =>
      (
        valid<{ services: unknown[] }>(await opened.ask("/api/v1/discovery")).services as unknown[]
      )[0];
    expect(await view()).toMatchObject({
      service: "orders",
      state: "pending",
      endpoints: 0,
      answers: 0,
    });
    discovery.sink!.replace([infoOf(good.address)]);
    await calling;
    expect(await view()).toMatchObject({
      state: "current",
      endpoints: 1,
      answers: 1,
      added: 1,
      removed: 0,
      errors: 0,
    });
    discovery.sink!.failed(new Error("the registry is away"));
    expect(await view()).toMatchObject({
      state: "stale",
      error: "the registry is away",
      endpoints: 1,
      errors: 1,
    });
    const { checks, status } = valid<Checks>(await opened.ask("/api/v1/checks"));
    expect(status).toBe("warning");
    expect(checks.find(({ id }) => id === "discovery-current")).toMatchObject({
      status: "warning",
      subject: "orders (http)",
      message: "discovery cannot tell: the registry is away",
      page: "docs/reference/checks.md#discovery-current",
    });
  });
});

describe("config", () => {
  it("has every value with who wrote it, and no secret", async () => {
    const path = join(folder(), "mesh.yaml");
    writeFileSync(
      path,
      `services:
  orders:
    url: http://127.0.0.1:1
    timeouts:
      request: 3s
    routes:
      - name: keyed
        matches: [{ headers: [{ name: authorization, value: hunter2 }] }]
        filters:
          - requestHeaderModifier: { set: [{ name: x-api-key, value: hunter2 }] }
`,
    );
    const { ask, mesh } = await adminOf(
      { orders: { timeouts: { connectMs: 250 } } },
      {},
      { configFile: path },
    );
    const answered = await ask("/api/v1/config");
    const { values, file, version } = valid<Config>(answered);
    expect({ file, version }).toEqual({ file: path, version: 1 });
    const of = (name: string) => values.find((one) => one.path === name);
    expect(of("services.orders.timeouts.request")).toEqual({
      path: "services.orders.timeouts.request",
      value: "3s",
      rank: "file",
      origin: `file:${path}`,
      line: 5,
    });
    expect(of("services.orders.timeouts.connect")).toMatchObject({ value: "250ms", rank: "code" });
    expect(of("services.orders.retry.attempts")).toBeUndefined();
    expect(answered.text).not.toContain("hunter2");
    expect(JSON.stringify(of("services.orders.routes")!.value)).toContain("authorization");
    const all = valid<Config>(await ask("/api/v1/config?all=true&service=orders"));
    expect(all.values.find((one) => one.path === "services.orders.retry.attempts")).toMatchObject({
      value: 2,
      rank: "default",
    });
    expect(all.values.every((one) => one.path.startsWith("services.orders."))).toBe(true);
    meshClient("orders", { mesh });
    const body = { service: "orders", headers: { Authorization: "x" } };
    const explained = await ask("/api/v1/explain", { method: "POST", body });
    valid(explained);
    expect(explained.text).not.toContain("hunter2");
  });

  it("says what is wrong with a source, and that the last good layer stays", async () => {
    const path = join(folder(), "mesh.yaml");
    writeFileSync(path, "services: { orders: { url: http://127.0.0.1:1 } }\n");
    const { ask } = await adminOf({}, {}, { configFile: path });
    writeFileSync(
      path,
      "services: { orders: { url: http://127.0.0.1:1, retry: { attempts: 99 } } }\n",
    );
    await expect.poll(async () => (await ask("/api/v1/config")).json["state"]).toBe("refused");
    const { sources } = valid<Config>(await ask("/api/v1/config"));
    expect(sources).toMatchObject([
      {
        name: "file",
        state: "refused",
        mistakes: [{ path: "services.orders.retry.attempts", value: "99", line: 1 }],
      },
    ]);
    const { checks, failures } = valid<Checks>(await ask("/api/v1/checks"));
    expect(failures).toBe(1);
    expect(checks.find(({ status }) => status === "failure")).toMatchObject({
      id: "configuration-current",
      subject: "file",
    });
  });
});

describe("explain", () => {
  const routes: ServiceInput["routes"] = [
    {
      name: "gold",
      matches: [{ path: { value: "/v1" }, headers: [{ name: "x-tier", value: "gold" }] }],
      timeouts: { requestMs: 500 },
    },
    { name: "token", matches: [{ headers: [{ name: "authorization", value: "hunter2" }] }] },
    {
      name: "split",
      matches: [{ path: { value: "/split" }, method: "POST" }],
      backendRefs: [
        { name: "orders", weight: 70 },
        { name: "orders-v2", weight: 30 },
      ],
    },
  ];
  const explained = async ({ ask }: Opened, body: object): Promise<Explanation> =>
    valid<Explanation>(await ask("/api/v1/explain", { method: "POST", body }));

  it("finds the route that a call takes, and says why not the others", async () => {
    const opened = await busy({ routes });
    await call(opened, "/", 20);
    const gold = await explained(opened, {
      service: "orders",
      path: "/v1/x?y=1",
      headers: { "X-Tier": "gold" },
    });
    expect(gold).toMatchObject({
      service: "orders",
      protocol: "http",
      method: "GET",
      path: "/v1/x",
      route: { name: "gold", requestMs: 500, idempotent: true, attempts: 2 },
    });
    expect(gold.refused).toBeUndefined();
    const silver = await explained(opened, {
      service: "http://orders/v1/x",
      headers: { "x-tier": "silver", authorization: "a secret of the caller" },
    });
    expect(silver.route.name).toBe("default");
    const why = silver.matches.map(({ route, why: text }) => `${route}: ${text}`);
    expect(why).toEqual([
      "split: method is GET, not POST",
      'gold: header x-tier is not "gold"',
      "token: header authorization is not what the route asks for",
    ]);
    expect(JSON.stringify(silver)).not.toMatch(/a secret of the caller|hunter2/);
    // A call really goes where it says.
    await call(opened, "/v1/x", 1, { "x-tier": "gold" });
    const { services } = valid<Services>(await opened.ask("/api/v1/services"));
    expect(services[0]!.routes.find(({ name }) => name === "gold")!.traffic!.calls.total).toBe(1);
  });

  it("has the split, and the chance of every endpoint by the balancer itself", async () => {
    const opened = await busy({
      routes,
      breaker: { consecutiveFailures: 3 },
      balancer: { kind: "least-request" },
      retry: { attempts: 1 },
    });
    await call(opened, "/", 60);
    const { split, candidates } = await explained(opened, {
      service: "orders",
      method: "POST",
      path: "/split",
    });
    expect(split).toMatchObject([
      { backend: "orders", share: 0.7, shareNow: 0.7 },
      { backend: "orders-v2", share: 0.3, shareNow: 0.3 },
    ]);
    const own = candidates.filter(({ backend }) => backend === "orders");
    expect(own.map(({ chance }) => chance)).toEqual([1, 0, 0]);
    expect(own[0]).toMatchObject({ endpoint: opened.addresses[0], state: "available" });
    expect(own[0]!.why).toMatch(/^the only one to choose from: cost /);
    expect(
      own
        .slice(1)
        .map(({ why }) => why)
        .sort(),
    ).toEqual([
      expect.stringMatching(/^accepts no connection since /),
      expect.stringMatching(/^open since .*: 3 failures in a row; next probe in /),
    ]);
  });

  it("says why a call would be refused, and changes nothing", async () => {
    const opened = await adminOf({
      orders: { discovery: { static: ["127.0.0.1:1"] }, retry: { attempts: 1 } },
    });
    await call(opened, "/", 3);
    const before = valid<Endpoints>(await opened.ask("/api/v1/endpoints")).endpoints[0]!.picks;
    const { refused, candidates } = await explained(opened, { service: "orders" });
    expect(refused).toMatchObject({ reason: "all_open" });
    expect(candidates).toMatchObject([{ chance: 0, state: "refusing" }]);
    expect(valid<Endpoints>(await opened.ask("/api/v1/endpoints")).endpoints[0]!.picks).toBe(
      before,
    );
  });

  it("of a service that is not called says which there are", async () => {
    const opened = await busy();
    meshClient("orders", { mesh: opened.mesh });
    const of = async (service: string) => {
      const { status, code, json } = await opened.ask("/api/v1/explain", {
        method: "POST",
        body: { service },
      });
      isValid(json);
      return `${status} ${code} ${json["message"] as string}`;
    };
    expect(await of("ordres")).toBe(
      '404 unknown_service the service "ordres" is not known; did you mean "orders"?',
    );
    expect(await of("orders-v2")).toBe(
      '404 unknown_service "orders-v2" is configured, and no client has asked for it yet',
    );
    expect(await of("http://")).toBe("400 bad_request service must be a name or a URL");
  });
});

describe("log-level", () => {
  it("is changed for a while, with its undo, and leaves a line", async () => {
    const lines: LogLine[] = [];
    const opened = await adminOf(
      { orders: { discovery: { static: ["127.0.0.1:1"] }, retry: { attempts: 1 } } },
      {},
      { log: (line) => void lines.push(line) },
    );
    const { ask } = opened;
    expect(valid(await ask("/api/v1/log-level"))).toMatchObject({
      level: "info",
      standard: "info",
      hasLog: true,
    });
    const put = (level: string, forMs: number) =>
      ask("/api/v1/log-level", { method: "PUT", body: { level, forMs } });
    const changed = valid<{ undo: object }>(await put("debug", 60_000));
    expect(changed).toMatchObject({
      what: "log-level",
      before: { level: "info" },
      after: { level: "debug" },
      undo: { method: "DELETE", path: "/api/v1/log-level" },
    });
    expect(lines.at(-1)).toMatchObject({ event: "admin.changed", level: "info" });
    expect(lines.at(-1)!.message).toMatch(
      /^admin: the log level is debug for 1m00s, before info; asked by 127\.0\.0\.1:\d+; undo: DELETE \/api\/v1\/log-level$/,
    );
    await call(opened, "/a%1bb?secret=hunter2", 1);
    const debug = lines.filter(({ level }) => level === "debug");
    expect(debug.map(({ event }) => event)).toEqual(["attempt.failed", "call.failed"]);
    expect(debug[0]!.message).toMatch(
      /^orders: call 1, GET \/a%1bb, route default: attempt 1 \(first\) to 127\.0\.0\.1:1 ended after \d+ ms with failure: /,
    );
    expect(JSON.stringify(debug)).not.toContain("hunter2");
    const quieter = valid<{ undo: { body: { level: string; forMs: number } } }>(
      await put("warn", 2_000),
    );
    expect(quieter.undo.body).toMatchObject({ level: "debug" });
    expect(quieter.undo.body.forMs).toBeLessThanOrEqual(60_000);
    opened.mesh.log({ level: "info", event: "config.applied", message: "not to be seen" });
    expect(lines.at(-1)!.event).toBe("admin.changed");
    await expect.poll(async () => (await ask("/api/v1/log-level")).json["level"]).toBe("info");
    expect(lines.at(-1)!.message).toContain("the log level is info again");
    valid(await ask("/api/v1/log-level", { method: "DELETE" }));
    expect((await put("trace", 10)).json["message"]).toBe(
      "level must be one of debug, info, warn; forMs must be a whole number of milliseconds from 1000 to 86400000",
    );
  });
});

it("texts of elsewhere cannot break the JSON, nor the terminal that shows it", async () => {
  const hostile = 'x"\u001b[2J\u0000\u009b1m\u202e\u2028\ud800</script>';
  const good = await answering(OK);
  const discovery = new TestDiscovery();
  const opened = await adminOf(
    { orders: { url: "http://orders" } },
    {},
    { discovery: () => discovery },
  );
  const server = meshServer((_request, response) => void response.end(), {
    mesh: opened.mesh,
    name: hostile,
  });
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  await (await fetch(`http://127.0.0.1:${port}/`)).text();
  const calling = call(opened, "/", 1);
  await until(() => discovery.sink !== undefined);
  discovery.sink!.replace([infoOf(good.address, { zone: hostile })]);
  await calling;
  discovery.sink!.failed(new Error(hostile));
  const asked = [
    "services",
    "endpoints",
    "connections",
    "discovery",
    "config?all=true",
    "checks",
    "dump",
  ];
  for (const path of asked) {
    const answered = await opened.ask(`/api/v1/${path}`);
    valid(answered);
    expect(answered.text.slice(0, -1), path).not.toMatch(UNSAFE);
  }
  const { services, servers } = valid<Services>(await opened.ask("/api/v1/services"));
  expect(servers[0]).toMatchObject({ name: hostile, calls: { total: 1 } });
  expect(services[0]!.discovery.error).toBe(hostile);
  const { endpoints } = valid<Endpoints>(await opened.ask("/api/v1/endpoints"));
  expect(endpoints[0]!.zone).toBe(hostile);
});

/** A reader of `/api/v1/tap`. */
interface TapReader {
  readonly response: IncomingMessage;
  readonly text: () => string;
  readonly events: () => { event: string; data: Record<string, unknown> }[];
  destroy(): void;
}

async function tapOf({ admin, token }: Opened, query = ""): Promise<TapReader> {
  const headers = { authorization: `Bearer ${token}` };
  const request = httpRequest({
    host: "127.0.0.1",
    port: admin.port,
    path: `/api/v1/tap${query}`,
    headers,
    agent: false,
  });
  request.on("error", () => {});
  request.end();
  const response = await new Promise<IncomingMessage>((resolve) =>
    request.once("response", resolve),
  );
  onTestFinished(() => void request.destroy());
  let text = "";
  response.setEncoding("utf8");
  response.on("data", (chunk: string) => (text += chunk));
  response.on("error", () => {});
  return {
    response,
    text: () => text,
    events: () =>
      // The last may not be here as a whole.
      text
        .split("\n\n")
        .slice(0, -1)
        .flatMap((block) => {
          const event = /^event: (.*)$/m.exec(block)?.[1];
          const data = /^data: (.*)$/m.exec(block)?.[1];
          return event === undefined
            ? []
            : [{ event, data: JSON.parse(data!) as Record<string, unknown> }];
        }),
    destroy: () => void request.destroy(),
  };
}

describe("tap", () => {
  it("is a stream of events, each what the schema says, that ends by its limit", async () => {
    const opened = await busy();
    const tap = await tapOf(opened, "?service=orders&limit=3&headers=true");
    expect(tap.response.headers).toMatchObject({
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
    });
    await call(opened, "/v1/x", 5, { authorization: "Bearer hunter2", "x-name": "a\u009b\u202eb" });
    await until(() => tap.events().length === 4);
    const events = tap.events();
    expect(events.map(({ event }) => event)).toEqual(["call", "call", "call", "end"]);
    for (const { data } of events.slice(0, 3)) {
      isValid(data);
      expect(data).toMatchObject({ direction: "outbound", service: "orders", path: "/v1/x" });
    }
    expect(tap.text()).not.toContain("hunter2");
    expect(tap.text()).toMatch(/^id: 1$/m);
    expect(tap.text().replaceAll("\n", "")).not.toMatch(UNSAFE);
    await until(() => tap.response.complete);
  });

  it("refuses a filter that does not parse, with every mistake", async () => {
    const { ask } = await adminOf();
    const { status, code, json } = await ask("/api/v1/tap?servce=x&status=9xx&ratio=2");
    expect({ status, code }).toEqual({ status: 400, code: "bad_filter" });
    isValid(json);
    expect(json["message"]).toMatch(
      /servce is not known; did you mean "service"\?; status must be .*; ratio must be /,
    );
  });

  it("ends when its reader goes, and costs calls nothing after that", async () => {
    const opened = await busy();
    const tap = await tapOf(opened);
    await until(() => opened.mesh.snapshot().observers.attached === 1);
    await call(opened, "/", 1);
    await until(() => tap.events().length === 1);
    tap.destroy();
    await until(() => opened.mesh.snapshot().observers.attached === 0);
  });

  it("more readers than there is room for are refused, and have room when one has gone", async () => {
    const opened = await adminOf();
    const taps = await Promise.all(Array.from({ length: 8 }, () => tapOf(opened)));
    const refused = await opened.ask("/api/v1/tap");
    expect(refused).toMatchObject({ status: 503, code: "too_many_readers" });
    isValid(refused.json);
    expect((await opened.ask("/api/v1/about")).status).toBe(200);
    taps[0]!.destroy();
    await until(() => opened.mesh.snapshot().observers.attached === 7);
    await tapOf(opened);
  });

  it("a reader that reads nothing loses events, learns how many, and holds up no call", async () => {
    const served = await serve((_request, response) => void response.end("ok"));
    const opened = await adminOf({ orders: { discovery: { static: [served.address] } } });
    const tap = await tapOf(opened, "?headers=true&maxPerSecond=1000&buffer=10");
    tap.response.pause();
    const orders = meshClient("orders", { mesh: opened.mesh });
    const long = "a".repeat(200);
    const headers = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`x-${i}`, long]));
    let slowest = 0;
    for (let i = 0; i < 1_500; i++) {
      const startedAt = performance.now();
      await (await orders.fetch("/", { headers })).text();
      slowest = Math.max(slowest, performance.now() - startedAt);
    }
    expect(slowest).toBeLessThan(2_000);
    tap.response.resume();
    await until(() => tap.events().some(({ event }) => event === "lost"), 20_000);
    const lost = tap.events().find(({ event }) => event === "lost")!;
    isValid(lost.data);
    expect(lost.data["count"]).toBeGreaterThan(0);
    // What waits is bounded: by what the connection holds, and by the buffer of the tap.
    expect(tap.events().length).toBeLessThan(1_500);
  });

  it("ends with the listener", async () => {
    const opened = await adminOf();
    const tap = await tapOf(opened);
    await opened.admin.close(500);
    await until(() => tap.response.complete);
    expect(opened.mesh.snapshot().observers.attached).toBe(0);
  });
});

it("readers that take nothing are bounded, and the listener closes in its time all the same", async () => {
  const good = await answering(OK);
  const gone = Array.from({ length: 4_000 }, (_, i) => `127.1.${i >> 8}.${i & 255}:1`);
  const path = join(folder(), "admin.sock");
  const opened = await adminOf(
    { orders: { discovery: { static: [good.address, ...gone] } } },
    { socketPath: path },
  );
  await call(opened, "/", 1);
  const head = `GET /api/v1/endpoints HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${opened.token}\r\n\r\n`;
  const stuck = Array.from({ length: 16 }, () => {
    const socket = connect(path);
    socket.on("error", () => {});
    socket.pause();
    socket.write(head);
    onTestFinished(() => void socket.destroy());
    return socket;
  });
  await expect.poll(async () => (await opened.ask("/api/v1/about")).code).toBe("too_many_readers");
  const refused = await opened.ask("/api/v1/about");
  expect(refused).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
  expect(await askWithoutToken(opened.admin, "/livez")).toMatchObject({ status: 200 });
  stuck[0]!.destroy();
  await expect.poll(async () => (await opened.ask("/api/v1/about")).status).toBe(200);
  const startedAt = performance.now();
  await opened.admin.close(200);
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});

it("dump is one bundle of everything, as JSON that the schema knows", async () => {
  const opened = await busy();
  await call(opened, "/", 5);
  const dump = valid<Dump>(await opened.ask("/api/v1/dump"));
  expect(dump.services.services[0]!.traffic!.calls.total).toBe(5);
  expect(dump.endpoints.endpoints).toHaveLength(3);
  expect(dump.config.values.length).toBeGreaterThan(40);
  expect(
    new Set([dump, dump.about, dump.checks, dump.config].map(({ instance }) => instance)).size,
  ).toBe(1);
});
