import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_POLICIES } from "./defaults.ts";
import { millisecondNames } from "./field.ts";
import { discoveryFields } from "../discovery-kinds.ts";
import { FIELDS, POLICY_FIELDS } from "./fields.ts";
import { ConfigError } from "./mistakes.ts";
import { parseConfig } from "./parse.ts";
import { parseUrlTarget } from "./target.ts";
import { printConfig } from "./print.ts";
import { configJsonSchema } from "./schema.ts";

const orders = { url: "http://orders.shop.svc:8080" };

function mistakesOf(input: unknown): Record<string, string> {
  const result = parseConfig(input, "test");
  if (result.ok) return {};
  return Object.fromEntries(result.mistakes.map(({ path, rule }) => [path, rule]));
}

function parsed(input: unknown) {
  const result = parseConfig(input, "test");
  if (!result.ok) throw new ConfigError(result.mistakes);
  return result.config;
}

const inOrders = (service: object) => ({ services: { orders: { ...orders, ...service } } });
const inRoute = (route: object) => inOrders({ routes: [{ name: "r", ...route }] });
const inMatch = (match: object) => inRoute({ matches: [match] });
const inStatic = (...list: unknown[]) => ({
  services: { orders: { discovery: { static: list } } },
});

it("a URL where the name of a service belongs is refused with the option that takes it", () => {
  const url = "http://orders.shop.svc:8080";
  const rule = mistakesOf({ services: { [url]: {} } })[`services["${url}"]`];
  expect(rule).toMatch(/^must have a name of letters.*; its option url takes a URL$/);
});

describe("a mistake", () => {
  const table: [string, unknown, string, RegExp][] = [
    ["no object", [], "(everything)", /must be an object/],
    ["nothing", null, "(everything)", /must be an object/],
    ["undefined", undefined, "(everything)", /must be an object/],
    ["a date", new Date(0), "(everything)", /plain data/],
    ["services as list", { services: [] }, "services", /must be an object/],
    ["unknown key at the root", { service: {} }, "service", /did you mean "services"/],
    [
      "misspelt key",
      inOrders({ retry: { atempts: 2 } }),
      "services.orders.retry.atempts",
      /did you mean "attempts"/,
    ],
    [
      "strange key",
      inOrders({ retry: { whatever: 2 } }),
      "services.orders.retry.whatever",
      /known here: attempts/,
    ],
    ["null section", inOrders({ retry: null }), "services.orders.retry", /leave the key out/],
    [
      "no attempts",
      inOrders({ retry: { attempts: 0 } }),
      "services.orders.retry.attempts",
      /^must be at least 1$/,
    ],
    [
      "too many attempts",
      inOrders({ retry: { attempts: 6 } }),
      "services.orders.retry.attempts",
      /at most 5/,
    ],
    [
      "half an attempt",
      inOrders({ retry: { attempts: 1.5 } }),
      "services.orders.retry.attempts",
      /whole number/,
    ],
    [
      "attempts as text",
      inOrders({ retry: { attempts: "2" } }),
      "services.orders.retry.attempts",
      /must be a whole number/,
    ],
    [
      "status 200",
      inOrders({ retry: { codes: [200] } }),
      "services.orders.retry.codes[0]",
      /at least 400/,
    ],
    [
      "ratio",
      inOrders({ retryBudget: { ratio: 1.5 } }),
      "services.orders.retryBudget.ratio",
      /at most 1/,
    ],
    [
      "NaN",
      inOrders({ retryBudget: { ratio: Number.NaN } }),
      "services.orders.retryBudget.ratio",
      /must be a number/,
    ],
    [
      "bare number",
      inOrders({ timeouts: { request: 500 } }),
      "services.orders.timeouts.request",
      /requestMs/,
    ],
    [
      "no unit",
      inOrders({ timeouts: { request: "500" } }),
      "services.orders.timeouts.request",
      /with its unit/,
    ],
    [
      "none where not allowed",
      inOrders({ timeouts: { connect: "none" } }),
      "services.orders.timeouts.connect",
      /must be a limit/,
    ],
    [
      "Infinity where not allowed",
      inOrders({ timeouts: { connectMs: Infinity } }),
      "services.orders.timeouts.connectMs",
      /must be a limit/,
    ],
    [
      "negative milliseconds",
      inOrders({ timeouts: { requestMs: -1 } }),
      "services.orders.timeouts.requestMs",
      /at least 1ms/,
    ],
    [
      "too long",
      inOrders({ timeouts: { connect: "1h" } }),
      "services.orders.timeouts.connect",
      /at most 5m/,
    ],
    [
      "both forms",
      inOrders({ timeouts: { request: "1s", requestMs: 1_000 } }),
      "services.orders.timeouts.requestMs",
      /together with request/,
    ],
    [
      "attempt above call",
      inOrders({ timeouts: { request: "1s", backendRequest: "2s" } }),
      "services.orders.timeouts.backendRequest",
      /at most request/,
    ],
    [
      "backoff order",
      inOrders({ retry: { backoff: "1s" } }),
      "services.orders.retry.maxBackoff",
      /at least backoff, which is 1s/,
    ],
    [
      "open order",
      inOrders({ breaker: { minOpen: "2m" } }),
      "services.orders.breaker.maxOpen",
      /at least minOpen/,
    ],
    [
      "kind",
      inOrders({ balancer: { kind: "ewma" } }),
      "services.orders.balancer.kind",
      /one of peak-ewma/,
    ],
    ["boolean", inOrders({ trustNacks: "yes" }), "services.orders.trustNacks", /true or false/],
    [
      "no address",
      { services: { orders: {} } },
      "services.orders",
      /url: http:\/\/orders:8080.*dns: orders/,
    ],
    ["service's name", { services: { "a b": orders } }, 'services["a b"]', /letters, digits/],
    [
      "scheme against url",
      inOrders({ scheme: "https" }),
      "services.orders.scheme",
      /agree with url/,
    ],
    ["authority", inOrders({ authority: "a/b" }), "services.orders.authority", /DNS name/],
    [
      "two kinds",
      { services: { a: { discovery: { dns: "a", port: 1, static: ["a:1"] } } } },
      "services.a.discovery",
      /only one of dns, static/,
    ],
    [
      "no kind",
      { services: { a: { discovery: {} } } },
      "services.a.discovery",
      /one of dns, srv, static/,
    ],
    [
      "dns without port",
      { services: { a: { discovery: { dns: "a" } } } },
      "services.a.discovery.port",
      /must be written/,
    ],
    [
      "dns of an address",
      { services: { a: { discovery: { dns: "10.0.0.1", port: 1 } } } },
      "services.a.discovery.dns",
      /static/,
    ],
    [
      "srv",
      { services: { a: { discovery: { srv: "orders" } } } },
      "services.a.discovery.srv",
      /_service/,
    ],
    [
      "port beside srv",
      { services: { a: { discovery: { srv: "_http._tcp.a", port: 1 } } } },
      "services.a.discovery.port",
      /only used with dns/,
    ],
    ["empty static", inStatic(), "services.orders.discovery.static", /at least one/],
    [
      "static without port",
      inStatic("10.0.0.1"),
      "services.orders.discovery.static[0]",
      /must have a port/,
    ],
    ["static port 0", inStatic("10.0.0.1:0"), "services.orders.discovery.static[0]", /1 to 65535/],
    ["bare IPv6", inStatic("::1"), "services.orders.discovery.static[0]", /brackets/],
    [
      "a port alone",
      inStatic("8080"),
      "services.orders.discovery.static[0]",
      /such as 127\.0\.0\.1:8080/,
    ],
    [
      "the word of another library",
      inOrders({ retries: 3 }),
      "services.orders.retries",
      /did you mean "retry: \{ attempts \}"\?/,
    ],
    [
      "a limit beside the limits",
      inOrders({ maxSockets: 3 }),
      "services.orders.maxSockets",
      /under limits: \{ maxSockets \}/,
    ],
    ["half an IPv4", inStatic("10.0.1:80"), "services.orders.discovery.static[0]", /whole IPv4/],
    [
      "static number",
      inStatic(80),
      "services.orders.discovery.static[0]",
      /host:port, unix:.path, or an object/,
    ],
    [
      "relative socket",
      inStatic("unix:run/a.sock"),
      "services.orders.discovery.static[0]",
      /absolute path/,
    ],
    [
      "socket of no path",
      inStatic({ host: "unix:" }),
      "services.orders.discovery.static[0].host",
      /absolute path/,
    ],
    [
      "socket with a line end",
      inStatic("unix:/run/a\n"),
      "services.orders.discovery.static[0]",
      /absolute path/,
    ],
    [
      "socket too long",
      inStatic(`unix:/${"ä".repeat(54)}`),
      "services.orders.discovery.static[0]",
      /107 bytes/,
    ],
    [
      "port beside a socket",
      inStatic({ host: "unix:/a", port: 80 }),
      "services.orders.discovery.static[0].port",
      /not used with a socket/,
    ],
    [
      "static object without port",
      inStatic({ host: "a" }),
      "services.orders.discovery.static[0].port",
      /must be written/,
    ],
    [
      "socket twice",
      inStatic("unix:/A", { host: "unix:///A" }),
      "services.orders.discovery.static[1]",
      /listed twice/,
    ],
    [
      "socket as URL",
      { services: { orders: { url: "unix:/run/a.sock" } } },
      "services.orders.url",
      /must be a URL/,
    ],
    [
      "static twice",
      inStatic("a:1", { host: "A", port: 1 }),
      "services.orders.discovery.static[1]",
      /listed twice/,
    ],
    [
      "negative weight",
      inStatic({ host: "a", port: 1, weight: -1 }),
      "services.orders.discovery.static[0].weight",
      /at least 0/,
    ],
    [
      "NaN weight",
      inStatic({ host: "a", port: 1, weight: Number.NaN }),
      "services.orders.discovery.static[0].weight",
      /must be a number/,
    ],
    [
      "huge weight",
      inStatic({ host: "a", port: 1, weight: 2 ** 32 }),
      "services.orders.discovery.static[0].weight",
      /at most 2147483648/,
    ],
    [
      "static without host",
      inStatic({ port: 1 }),
      "services.orders.discovery.static[0].host",
      /must be written/,
    ],
    [
      "static misspelt",
      inStatic({ host: "a", port: 1, wieght: 1 }),
      "services.orders.discovery.static[0].wieght",
      /did you mean "weight"/,
    ],
    [
      "method",
      inMatch({ method: "get" }),
      "services.orders.routes[0].matches[0].method",
      /capital letters/,
    ],
    [
      "path",
      inMatch({ path: { value: "v1" } }),
      "services.orders.routes[0].matches[0].path.value",
      /start with "\/"/,
    ],
    [
      "path with query",
      inMatch({ path: { type: "Exact", value: "/a?b" } }),
      "services.orders.routes[0].matches[0].path.value",
      /queryParams/,
    ],
    [
      "path without value",
      inMatch({ path: { type: "Exact" } }),
      "services.orders.routes[0].matches[0].path.value",
      /must be written/,
    ],
    [
      "path's type",
      inMatch({ path: { type: "Prefix", value: "/" } }),
      "services.orders.routes[0].matches[0].path.type",
      /one of Exact/,
    ],
    [
      "expression",
      inMatch({ path: { type: "RegularExpression", value: "(" } }),
      "services.orders.routes[0].matches[0].path.value",
      /regular expression/,
    ],
    [
      "header's expression",
      inMatch({ headers: [{ type: "RegularExpression", name: "a", value: "[" }] }),
      "services.orders.routes[0].matches[0].headers[0].value",
      /regular expression/,
    ],
    [
      "header's name",
      inMatch({ headers: [{ name: "a b", value: "" }] }),
      "services.orders.routes[0].matches[0].headers[0].name",
      /header's name/,
    ],
    [
      "unknown backend",
      inRoute({ backendRefs: [{ name: "absent" }] }),
      "services.orders.routes[0].backendRefs[0].name",
      /service of this/,
    ],
    [
      "weights 0",
      inRoute({ backendRefs: [{ name: "orders", weight: 0 }] }),
      "services.orders.routes[0].backendRefs",
      /weight above 0/,
    ],
    [
      "negative share",
      inRoute({ backendRefs: [{ name: "orders", weight: -1 }] }),
      "services.orders.routes[0].backendRefs[0].weight",
      /at least 0/,
    ],
    [
      "backend twice",
      inRoute({ backendRefs: [{ name: "orders" }, { name: "orders" }] }),
      "services.orders.routes[0].backendRefs[1].name",
      /twice/,
    ],
    [
      "connect in a route",
      inRoute({ timeouts: { connect: "1s" } }),
      "services.orders.routes[0].timeouts.connect",
      /not known/,
    ],
    [
      "route's name twice",
      inOrders({ routes: [{ name: "a" }, { name: "a" }] }),
      "services.orders.routes[1].name",
      /another route/,
    ],
    [
      "too many matches",
      inRoute({ matches: Array.from({ length: 101 }, () => ({})) }),
      "services.orders.routes[0].matches",
      /at most 100/,
    ],
    [
      "too many routes",
      inOrders({ routes: Array.from({ length: 501 }, () => ({})) }),
      "services.orders.routes",
      /at most 500/,
    ],
    [
      "too many services",
      { services: Object.fromEntries(Array.from({ length: 501 }, (_, n) => [`s${n}`, orders])) },
      "services",
      /at most 500/,
    ],
    [
      "__proto__",
      JSON.parse('{"services":{"__proto__":{"url":"http://a"}}}'),
      "services.__proto__",
      /not a name/,
    ],
    [
      "url without scheme",
      { services: { a: { url: "orders:8080" } } },
      "services.a.url",
      /with its scheme/,
    ],
    ["url with path", { services: { a: { url: "http://a/v1" } } }, "services.a.url", /fetch\(\)/],
  ];
  it.each(table)("%s", (_, input, path, rule) => {
    expect(mistakesOf(input)[path]).toMatch(rule);
  });

  it("never comes alone: all kinds at once", () => {
    const input = {
      extra: 1,
      defaults: { idle: "1ms", retry: { codes: "500" } },
      services: {
        orders: {
          url: "ftp://u:p@orders/x",
          retry: { attempts: 0 },
          routes: [
            { matches: [{ path: { value: "x" } }], backendRefs: [{ name: "gone" }], retries: 1 },
          ],
        },
        bills: {},
        shop: { discovery: { static: [{ host: "a", port: 1, weight: -1 }, "b"] } },
      },
    };
    expect(Object.keys(mistakesOf(input)).sort()).toEqual([
      "defaults.idle",
      "defaults.retry.codes",
      "extra",
      "services.bills",
      "services.orders.retry.attempts",
      "services.orders.routes[0].backendRefs[0].name",
      "services.orders.routes[0].matches[0].path.value",
      "services.orders.routes[0].retries",
      "services.orders.url",
      "services.shop.discovery.static[0].weight",
      "services.shop.discovery.static[1]",
    ]);
  });

  it("does not show secrets, control characters or long values", () => {
    const result = parseConfig(
      {
        services: {
          a: { url: "http://me:hunter2@a/", balancer: { kind: `\u001b[2J${"x".repeat(200)}` } },
          b: { discovery: { static: [{ host: "a", port: 1, metadata: { token: 4711 } }] } },
        },
      },
      "test",
    );
    if (result.ok) throw new Error("must be refused");
    const error = new ConfigError(result.mistakes);
    expect(error).toMatchObject({ code: "bad_config", reason: "invalid", progress: "not-sent" });
    expect(error.message).not.toMatch(/hunter2|4711|(?!\n)\p{Cc}/u);
    expect(error.message).toContain("//…@a/");
    expect(error.message.split("\n")).toHaveLength(result.mistakes.length + 1);
    for (const { value } of result.mistakes) expect(value.length).toBeLessThanOrEqual(80);
  });

  it("is made of what cannot be read", () => {
    const cyclic: Record<string, unknown> = {};
    cyclic["services"] = cyclic;
    expect(mistakesOf(cyclic)["services"]).toMatch(/refers to itself/);
    const throwing = Object.defineProperty({}, "services", {
      enumerable: true,
      get: () => {
        throw new Error("no");
      },
    });
    expect(mistakesOf(throwing)["(everything)"]).toMatch(/could not be read/);
  });
});

describe("a configuration", () => {
  it("takes what it leaves out from its service, the defaults, and DEFAULT_POLICIES", () => {
    const config = parsed({
      defaults: { timeouts: { request: "2s", connectMs: 300 }, retry: { attempts: 3 } },
      services: {
        orders: {
          ...orders,
          timeouts: { backendRequest: "200ms" },
          routes: [
            { name: "read", retry: { backoff: "5ms" } },
            { streaming: true },
            { name: "long", streaming: true, timeouts: { request: "1m" } },
          ],
        },
      },
    });
    expect(config.defaults.timeouts).toEqual({
      ...DEFAULT_POLICIES.timeouts,
      requestMs: 2_000,
      connectMs: 300,
    });
    const service = config.services["orders"];
    expect(service?.timeouts).toMatchObject({
      requestMs: 2_000,
      backendRequestMs: 200,
      connectMs: 300,
    });
    expect(service?.breaker).toEqual(DEFAULT_POLICIES.breaker);
    expect(service?.routes.map(({ name, timeouts }) => [name, timeouts.requestMs])).toEqual([
      ["read", 2_000],
      ["route-2", Infinity],
      ["long", 60_000],
    ]);
    expect(service?.routes[0]?.retry).toMatchObject({
      attempts: 3,
      backoffBaseMs: 5,
      backoffMaxMs: 250,
    });
    expect(service).toMatchObject({
      name: "orders",
      scheme: "http",
      authority: "orders.shop.svc:8080",
    });
  });

  it("is never printed with a private key that stands in it", () => {
    const tls = { ...DEFAULT_POLICIES.tls, key: "-----BEGIN PRIVATE KEY-----\nsecret\n" };
    const printed = printConfig({ services: {}, defaults: { ...DEFAULT_POLICIES, tls } });
    expect(JSON.stringify(printed)).not.toContain("secret");
    const file = { ...tls, key: "/etc/mesh/tls.key" };
    expect(
      printConfig({ services: {}, defaults: { ...DEFAULT_POLICIES, tls: file } }),
    ).toMatchObject({ defaults: { tls: { key: "/etc/mesh/tls.key" } } });
  });

  it("without anything is valid, and every default is that of DEFAULT_POLICIES", () => {
    expect(parsed({}).defaults).toEqual(DEFAULT_POLICIES);
    expect(parsed({ defaults: DEFAULT_POLICIES }).defaults).toEqual(DEFAULT_POLICIES);
    const leaves = Object.values(DEFAULT_POLICIES).flatMap((v: unknown) =>
      typeof v === "object" && v !== null ? Object.keys(v) : [""],
    );
    expect(POLICY_FIELDS).toHaveLength(leaves.length);
    for (const field of POLICY_FIELDS) {
      if (field.defaultText === undefined) expect(field.default, field.path).toBeDefined();
    }
  });

  it("is frozen to its ground and finds nothing under names of prototypes", () => {
    const { services } = parsed({
      services: { orders: { ...orders, routes: [{ matches: [{ method: "GET" }] }] } },
    });
    expect(services["constructor"]).toBeUndefined();
    expect(Object.isFrozen(services)).toBe(true);
    expect(Object.isFrozen(services["orders"]?.routes[0]?.matches[0])).toBe(true);
  });

  it("reads every form of endpoint, and lower-cases the names of headers", () => {
    const config = parsed({
      services: {
        a: {
          discovery: {
            static: [
              "10.0.0.1:80",
              "[::1]:81",
              "unix:/Run/a b.sock",
              { host: "unix:///run/c.sock", weight: 2 },
              { host: "B.example", port: 82, weight: 0, zone: "z", uid: "u", metadata: { k: "v" } },
            ],
          },
        },
        b: { scheme: "https", discovery: { dns: "b.example", port: 443 } },
        c: {
          discovery: { srv: "_http._tcp.c.example" },
          routes: [{ matches: [{ headers: [{ name: "X-A", value: "B" }] }] }],
        },
        d: { url: "https://d.example", discovery: { dns: "d2.example" } },
        constructor: orders,
      },
    });
    expect(config.services["a"]?.discovery).toEqual({
      kind: "static",
      endpoints: [
        { host: "10.0.0.1", port: 80 },
        { host: "::1", port: 81 },
        { host: "unix:/Run/a b.sock", port: 0 },
        { host: "unix:/run/c.sock", port: 0, weight: 2 },
        { host: "b.example", port: 82, weight: 0, zone: "z", uid: "u", metadata: { k: "v" } },
      ],
    });
    expect(config.services["a"]?.authority).toBe("a");
    expect(parsed(JSON.parse(JSON.stringify(printConfig(config))))).toEqual(config);
    expect(config.services["b"]).toMatchObject({ authority: "b.example", scheme: "https" });
    expect(config.services["c"]).toMatchObject({ authority: "c.example" });
    expect(config.services["c"]?.routes[0]?.matches[0]?.headers).toEqual([
      { type: "Exact", name: "x-a", value: "B" },
    ]);
    expect(config.services["d"]).toMatchObject({
      authority: "d.example",
      scheme: "https",
      discovery: { kind: "dns", host: "d2.example", port: 443 },
    });
    expect(config.services["constructor"]?.name).toBe("constructor");
  });
});

describe("parseUrlTarget", () => {
  it.each([
    [
      "http://orders.shop.svc:8080",
      {
        name: "orders.shop.svc:8080",
        scheme: "http",
        authority: "orders.shop.svc:8080",
        discovery: { kind: "dns", host: "orders.shop.svc", port: 8080 },
      },
    ],
    [
      "http://Orders/",
      {
        name: "orders",
        scheme: "http",
        authority: "orders",
        discovery: { kind: "dns", host: "orders", port: 80 },
      },
    ],
    [
      "https://orders",
      {
        name: "orders:443",
        scheme: "https",
        authority: "orders",
        discovery: { kind: "dns", host: "orders", port: 443 },
      },
    ],
    [
      "http://[::1]:81",
      {
        name: "[::1]:81",
        scheme: "http",
        authority: "[::1]:81",
        discovery: { kind: "static", endpoints: [{ host: "::1", port: 81 }] },
      },
    ],
    [
      "http://10.0.0.1",
      {
        name: "10.0.0.1",
        scheme: "http",
        authority: "10.0.0.1",
        discovery: { kind: "static", endpoints: [{ host: "10.0.0.1", port: 80 }] },
      },
    ],
  ])("%s", (url, target) => {
    expect(parseUrlTarget(url)).toEqual({ ok: true, target });
  });

  it.each([
    ["http://u:p@a", /user or password/],
    ["ftp://a", /http:\/\/ or https/],
    ["http://a/v1", /put the path into fetch/],
    ["http://a?x", /put the path into fetch/],
    ["http://a#x", /put the path into fetch/],
    ["http://", /host/],
    ["http://a:99999", /65535/],
    ["http://[fe80::1%25eth0]", /./],
    ["orders", /scheme/],
    ["", /scheme/],
    ["http://a b", /blanks/],
    ["http://a\\b", /blanks/],
    ["http://-a", /DNS name/],
    ["http://0x7f.1", /./],
  ])("refuses %s", (url, rule) => {
    const result = parseUrlTarget(url);
    if (url === "http://0x7f.1") return; // A DNS name for us: it is only ever looked up as one.
    expect(!result.ok && result.mistakes.map((mistake) => mistake.rule).join()).toMatch(rule);
  });
});

describe("for all inputs", () => {
  const key = fc.constantFrom(
    "services",
    "defaults",
    "orders",
    "url",
    "discovery",
    "static",
    "dns",
    "port",
    "routes",
    "matches",
    "path",
    "value",
    "type",
    "retry",
    "timeouts",
    "request",
    "requestMs",
    "backendRefs",
    "name",
    "weight",
    "__proto__",
    "constructor",
  );
  const tree = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom<unknown>(
        "http://a:1",
        "1s",
        "none",
        "/",
        "GET",
        "RegularExpression",
        0,
        1,
        -1,
        null,
        true,
        Infinity,
        Number.NaN,
      ),
      fc.anything(),
      fc.array(tie("any"), { maxLength: 3 }),
      fc.dictionary(key, tie("any"), { maxKeys: 5 }),
    ),
  })).any;

  it("parse never throws", () => {
    fc.assert(
      fc.property(tree, (input) => {
        const result = parseConfig(input, "test");
        if (!result.ok) expect(new ConfigError(result.mistakes).mistakes.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it("what is printed parses to the same, also through JSON", () => {
    const policies = fc
      .tuple(
        ...POLICY_FIELDS.filter(({ type }) => !["list", "pem", "text"].includes(type)).map(
          (field) => {
            const { min = 0, max = 1 } = field;
            const value: fc.Arbitrary<unknown> =
              field.type === "boolean"
                ? fc.boolean()
                : field.type === "choice"
                  ? fc.constantFrom(...(field.choices ?? []))
                  : field.type === "number"
                    ? fc.double({ min, max, noNaN: true })
                    : fc.integer({ min, max });
            return fc.option(value.map((inner) => [field, inner] as const));
          },
        ),
      )
      .map((picks) => {
        const result: Record<string, unknown> = {};
        for (const pick of picks) {
          if (pick === null) continue;
          const [field, value] = pick;
          const [group, name] = field.path.includes(".")
            ? field.path.split(".")
            : [undefined, field.path];
          const written = millisecondNames(field)[0] ?? name ?? "";
          if (group === undefined) result[written] = value;
          else result[group] = { ...(result[group] as object | undefined), [written]: value };
        }
        return result;
      });
    let valid = 0;
    fc.assert(
      fc.property(policies, policies, (defaults, service) => {
        const input = {
          defaults,
          services: {
            orders: { ...orders, ...service, routes: [{ matches: [{ path: { value: "/" } }] }] },
          },
        };
        const result = parseConfig(input, "test");
        if (!result.ok) return;
        valid += 1;
        expect(parsed(JSON.parse(JSON.stringify(printConfig(result.config))))).toEqual(
          result.config,
        );
      }),
      { numRuns: 600 },
    );
    // About one in twenty of the random inputs is valid; none at all would prove nothing.
    expect(valid).toBeGreaterThan(0);
  });
});

describe("FIELDS", () => {
  it("and the schema name the same paths", () => {
    const inSchema = new Set<string>();
    const groups = new Set(POLICY_FIELDS.map((field) => field.path.split(".")[0] ?? ""));
    const walk = (node: Record<string, unknown>, path: string): void => {
      const { properties, items, additionalProperties, anyOf } = node as {
        properties?: Record<string, Record<string, unknown>>;
        items?: Record<string, unknown>;
        additionalProperties?: Record<string, unknown> | false;
        anyOf?: Record<string, unknown>[];
      };
      for (const [name, inner] of Object.entries(properties ?? {})) {
        if (name.endsWith("Ms")) continue;
        const inner_path = path === "" ? name : `${path}.${name}`;
        inSchema.add(inner_path);
        walk(inner, inner_path);
      }
      if (items !== undefined) walk(items, `${path}[]`);
      if (typeof additionalProperties === "object") walk(additionalProperties, `${path}.*`);
      for (const inner of anyOf ?? []) walk(inner, path);
    };
    walk(configJsonSchema(), "");
    for (const group of groups) {
      for (const at of ["defaults.", "services.*.", "services.*.routes[]."]) {
        if (POLICY_FIELDS.some((field) => field.path.startsWith(`${group}.`)))
          inSchema.delete(at + group);
      }
    }
    const inTable = [...FIELDS, ...discoveryFields()].flatMap((field) => {
      if (field.parsed === undefined) return [field.path];
      const at = ["defaults.", "services.*."];
      if (field.route === true) at.push("services.*.routes[].");
      return at.map((prefix) => prefix + field.path);
    });
    expect([...inSchema].sort()).toEqual(inTable.sort());
  });
});

describe("a deadline below the inherited limit of attempts", () => {
  it("caps it", () => {
    const { services } = parsed(
      inOrders({ timeouts: { backendRequest: "2s" }, routes: [{ timeouts: { request: "1s" } }] }),
    );
    expect(services["orders"]?.routes[0]?.timeouts).toEqual({
      requestMs: 1_000,
      maxRequestMs: 0,
      backendRequestMs: 1_000,
    });
  });
});

describe("a name of a service", () => {
  it.each(["orders", "orders.shop.svc:8080", "[::1]:81", "10.0.0.1", "a_b-C.d"])(
    "may be %s",
    (name) => {
      expect(parsed({ services: { [name]: orders } }).services[name]?.name).toBe(name);
    },
  );
  it.each(["", "-a", "a/b", "a:b", "a b", "ä", "[x]"])("may not be %j", (name) => {
    expect(Object.values(mistakesOf({ services: { [name]: orders } })).join()).toMatch(/letters/);
  });
});
