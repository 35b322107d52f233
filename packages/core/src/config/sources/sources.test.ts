import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { loadConfig } from "../load.ts";
import { mergeConfig } from "../merge.ts";
import { ConfigError } from "../mistakes.ts";
import { readEnvConfig } from "./env.ts";
import { parseConfigText, readConfigFile } from "./file.ts";

const folder = mkdtempSync(join(tmpdir(), "inmesh-config-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function refusal(run: () => unknown): ConfigError {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error("must be refused");
}

describe("environment", () => {
  const load = (env: Record<string, string>) => loadConfig({ env }).config.services;

  it("names services", () => {
    const services = load({
      INMESH_SERVICE_ORDERS: "http://orders.shop:8080",
      INMESH_SERVICE_ORDERS_V2: "https://10.0.0.1, https://[::1]:8443",
      INMESH_SERVICE_BILLS: "srv+http://_http._tcp.bills.shop",
      INMESH_SERVICE_UNSET: "",
      OTHER: "x",
    });
    expect(Object.keys(services).sort()).toEqual(["bills", "orders", "orders-v2"]);
    expect(services["orders"]?.discovery).toEqual({ kind: "dns", host: "orders.shop", port: 8080 });
    expect(services["orders-v2"]).toMatchObject({
      scheme: "https",
      authority: "orders-v2",
      discovery: {
        kind: "static",
        endpoints: [
          { host: "10.0.0.1", port: 443 },
          { host: "::1", port: 8443 },
        ],
      },
    });
    expect(services["bills"]).toMatchObject({
      authority: "bills.shop",
      discovery: { kind: "srv", name: "_http._tcp.bills.shop" },
    });
  });

  it("reports all mistakes with their variable, and no password", () => {
    const error = refusal(() =>
      load({
        INMESH_SERVICE_A: "http://u:hunter2@a",
        INMESH_SERVICE_B: "http://b,https://c",
        INMESH_SERVICE_C: "srv+http://orders",
        INMESH_SERVICE_D: "orders:80",
        INMESH_SERVICE_: "http://a",
        INMESH_SERVICE_E_F: "http://a",
        "INMESH_SERVICE_E-F": "http://a",
      }),
    );
    expect(error.mistakes.map(({ path }) => path)).toEqual(
      expect.arrayContaining([
        "INMESH_SERVICE_A",
        "INMESH_SERVICE_B",
        "INMESH_SERVICE_C",
        "INMESH_SERVICE_D",
        "INMESH_SERVICE_",
        "INMESH_SERVICE_E_F",
      ]),
    );
    expect(error.message).not.toContain("hunter2");
  });

  it("is read when asked", () => {
    expect(readEnvConfig({ INMESH_CONFIG: "mesh.yaml" }).file).toBe("mesh.yaml");
    expect(readEnvConfig({ INMESH_CONFIG: " " }).file).toBeUndefined();
  });
});

describe("file", () => {
  it("is YAML or JSON", () => {
    const yaml = file("a.yaml", "services:\n  orders: { url: http://orders:8080 }\n");
    const json = file(
      "a.json",
      '{\n\t"services": {\n\t\t"orders": { "url": "http://orders:8080" }\n\t}\n}',
    );
    expect(loadConfig({ file: yaml, env: {} }).config).toEqual(
      loadConfig({ env: { INMESH_CONFIG: json } }).config,
    );
  });

  it("names the lines of mistakes", () => {
    const path = file(
      "b.yaml",
      "services:\n  orders:\n    url: http://orders\n    retry:\n      attempts: 9\n  bills: {}\n",
    );
    const { mistakes, message } = refusal(() => loadConfig({ file: path, env: false }));
    expect(mistakes.map((mistake) => [mistake.path, mistake.line])).toEqual([
      ["services.orders.retry.attempts", 5],
      ["services.bills", 6],
    ]);
    expect(message).toContain(
      `file:${path}:5: services.orders.retry.attempts: must be at most 5 (got 9)`,
    );
    const json = file("b.json", '{\n\t"services": {\n\t\t"orders": {}\n\t}\n}');
    expect(refusal(() => loadConfig({ file: json, env: false })).mistakes[0]?.line).toBe(3);
  });

  it.each([
    ["empty.yaml", "", /is empty/],
    ["comment.yaml", "# nothing\n", /is empty/],
    ["twice.yaml", "services: {}\nservices: {}\n", /unique/],
    ["twice.json", '{"services": {}, "services": {}}', /unique/],
    ["broken.yaml", "a: [", /cannot be read/],
    ["broken.json", "{a: 1}", /not JSON/],
    ["mesh.toml", "a = 1", /must be named/],
    [
      "alias.yaml",
      `a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [${"*a,".repeat(9)}]\nc: [${"*b,".repeat(20)}]\n`,
      /aliases/,
    ],
    ["big.yaml", `# ${"x".repeat(4 * 1024 * 1024)}`, /4 MiB/],
    ["list.yaml", "- a\n", /must be an object/],
  ])("refuses %s", (name, text, rule) => {
    const error = refusal(() => loadConfig({ file: file(name, text), env: false }));
    expect(error.message).toMatch(rule);
  });

  it("says why it cannot be read", () => {
    expect(readConfigFile(join(folder, "missing.yaml"))).toMatchObject({
      ok: false,
      mistakes: [{ rule: "cannot be read (ENOENT): there is no such file" }],
    });
    expect(parseConfigText(Uint8Array.of(0xff, 0xfe), "a.yaml")).toMatchObject({
      ok: false,
      mistakes: [{ rule: "must be UTF-8 text" }],
    });
  });
});

describe("a file full of mistakes", () => {
  // Each mistake looked for its line among all keys, and each key was compared with every other.
  it.each([
    ["unknown keys", Array.from({ length: 20_000 }, (_, i) => `x${i}: 1\n`).join("")],
    ["unknown keys in JSON", `{${Array.from({ length: 20_000 }, (_, i) => `"x${i}": 1`).join()}}`],
  ])("R41 CO: 20 000 %s are refused before they cost time", (_, text) => {
    const path = text.startsWith("{") ? "a.json" : "a.yaml";
    const startedAt = performance.now();
    const read = parseConfigText(text, path);
    if (!read.ok) throw new Error("it can be read");
    expect([0, 9_999, 19_999].map((i) => read.layer.lineOf?.([`x${i}`]))).toEqual(
      path === "a.json" ? [1, 1, 1] : [1, 10_000, 20_000],
    );
    for (let i = 0; i < 20_000; i++) read.layer.lineOf?.([`x${i}`]);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });

  it("R41 CO: a second document is a mistake, and not left out without a word", () => {
    const read = parseConfigText("services: {}\n---\nservices: {}\n", "a.yaml");
    if (read.ok) throw new Error("it was accepted");
    expect(JSON.stringify(read.mistakes)).toMatch(/multiple documents/);
  });
});

describe("layers", () => {
  it("lie over each other field by field, code uppermost", () => {
    const path = file(
      "c.yaml",
      "services:\n  orders:\n    timeouts: { request: 2s, connect: 1s }\n    retry: { backoff: 5ms }\n",
    );
    const { config, provenance } = loadConfig({
      env: { INMESH_CONFIG: path, INMESH_SERVICE_ORDERS: "http://orders:8080" },
      code: {
        services: { orders: { timeouts: { requestMs: 3_000 }, retry: { backoffBaseMs: 6 } } },
      },
    });
    expect(config.services["orders"]).toMatchObject({
      authority: "orders:8080",
      timeouts: { requestMs: 3_000, connectMs: 1_000 },
      retry: { backoffBaseMs: 6 },
    });
    expect(provenance["orders"]).toEqual(["env:INMESH_SERVICE_ORDERS", `file:${path}`, "code"]);
  });

  it("replace the target as a whole", () => {
    const merged = mergeConfig([
      {
        origin: "a",
        input: { services: { s: { discovery: { static: ["a:1"] }, authority: "old" } } },
      },
      { origin: "b", input: { services: { s: { url: "http://new" } } } },
      { origin: "c", input: { services: { s: { discovery: { srv: "_http._tcp.s" } } } } },
    ]);
    expect(merged.input).toEqual({
      services: { s: { url: "http://new", discovery: { srv: "_http._tcp.s" } } },
    });
  });

  it("keep the origin of each mistake", () => {
    const path = file("d.yaml", "services:\n  orders:\n    retry: { attempts: 9 }\n");
    const { mistakes } = refusal(() =>
      loadConfig({
        file: path,
        env: { INMESH_SERVICE_ORDERS: "http://orders" },
        code: { services: { orders: { retry: { codes: [1] } } } },
      }),
    );
    expect(mistakes.map(({ origin, path: at }) => [origin, at])).toEqual([
      [`file:${path}`, "services.orders.retry.attempts"],
      ["code", "services.orders.retry.codes[0]"],
    ]);
  });
});
