import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createMesh } from "../../mesh.ts";
import { NodeRuntime } from "../../runtime/node-runtime.ts";
import { expectNoLeak } from "../../testing/leak-check.ts";
import { SimRuntime } from "../../testing/sim-runtime.ts";
import { stubProtocol, StubRequest } from "../../testing/stub-transport.ts";
import { Call } from "../../call.ts";
import type { EndpointWatch } from "../discovery.ts";
import { addressOf, type EndpointInfo } from "../../endpoint-info.ts";
import { fileDiscovery, HOLD_DOWN_MS, parseEndpointFile } from "./file.ts";

let folder: string;
let path: string;
const watches: EndpointWatch[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "inmesh-endpoints-"));
  path = join(folder, "orders.yaml");
});
afterEach(() => {
  for (const watch of watches.splice(0)) watch.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Virtual time goes on while the disk works. */
async function until(runtime: SimRuntime, condition: () => boolean, stepMs = 10): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("it did not happen");
    await runtime.advance(stepMs);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

function write(text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

function follow(runtime: SimRuntime) {
  const received: string[] = [];
  const watch = fileDiscovery(path, runtime).watch({
    replace: (endpoints) => void received.push(endpoints.map(addressOf).join(" ")),
    change: () => void received.push("change"),
    failed: (error) => void received.push(`! ${error.message}`),
  });
  watches.push(watch);
  return { received, watch, last: () => received.at(-1) };
}

const parsed = (text: string, name = "orders.yaml") =>
  parseEndpointFile({ ok: true, content: Buffer.from(text) }, name);

describe("a list of endpoints", () => {
  it("is YAML or JSON: texts, or objects with weight, zone, uid and metadata", () => {
    const full: EndpointInfo = {
      host: "orders-2",
      port: 81,
      weight: 2,
      zone: "a",
      uid: "pod",
      metadata: { canary: "yes" },
    };
    const endpoints = [{ host: "10.0.0.1", port: 80 }, { host: "::1", port: 80 }, full];
    expect(
      parsed(
        '- 10.0.0.1:80\n- "[::1]:80"\n- { host: orders-2, port: 81, weight: 2, zone: a, uid: pod, metadata: { canary: "yes" } }\n',
      ),
    ).toEqual({ ok: true, endpoints });
    expect(parsed(JSON.stringify(["10.0.0.1:80", "[::1]:80", full]), "orders.json")).toEqual({
      ok: true,
      endpoints,
    });
    expect(parsed("[]")).toEqual({ ok: true, endpoints: [] });
  });

  it.each([
    ["", /is empty/],
    ["services: {}", /must be a list/],
    ["- 10.0.0.1", /must have a port/],
    ["- 10.0.0.1:80\n- 10.0.0.1:80", /listed twice/],
    ["- { host: a }", /must be written/],
    ["- { host: a, port: 80, wieght: 2 }", /weight/],
    ["- [", /cannot be read/],
  ])("refuses %j", (text, rule) => {
    const result = parsed(text);
    expect(result.ok ? [] : result.mistakes.map((mistake) => mistake.rule)).toEqual(
      expect.arrayContaining([expect.stringMatching(rule)]),
    );
  });

  it("D15 CO: a weight that is no number, negative or too large refuses the whole list", () => {
    for (const weight of ["-1", ".nan", "4294967296", ".inf", "heavy"]) {
      const result = parsed(`- 10.0.0.1:80\n- { host: 10.0.0.2, port: 80, weight: ${weight} }\n`);
      expect(result).toMatchObject({ ok: false, mistakes: [{ path: "[1].weight", line: 2 }] });
    }
    expect(parsed("- { host: a, port: 80, weight: 0 }")).toMatchObject({ ok: true });
  });
});

describe("limits", () => {
  it("D3 CO: of a list beyond what a service keeps the rest is left out and counted", async () => {
    const list = Array.from({ length: 300 }, (_, i) => `10.0.${Math.floor(i / 100)}.${i % 100}:80`);
    writeFileSync(path, JSON.stringify(list));
    const mesh = createMesh({
      env: {},
      config: {
        services: { orders: { discovery: { file: path }, limits: { maxEndpoints: 250 } } },
      },
    });
    const service = mesh.service(
      "orders",
      stubProtocol((exchange) => exchange.reply()),
    );
    await service.current(new Call("orders", new StubRequest(), true, true));
    expect(mesh.snapshot().services[0]!.endpoints).toHaveLength(250);
    expect(mesh.metrics().find(({ name }) => name === "inmesh.discovery.excess")).toMatchObject({
      value: 50,
    });
    await mesh.close(0);
  });

  it("D3 CO: a list of more than 100,000 is refused, and one of more than 4 MiB is not read", () => {
    const long = `[${Array.from({ length: 100_001 }, (_, i) => `"a${i}:1"`).join(",")}]`;
    expect(parsed(long, "long.json")).toMatchObject({
      ok: false,
      mistakes: [{ rule: "must hold at most 100000 items" }],
    });
    expect(parseEndpointFile({ ok: false, why: "larger than 4194304 bytes" }, "a.json")).toEqual(
      expect.objectContaining({
        mistakes: [expect.objectContaining({ rule: "must be at most 4 MiB" })],
      }),
    );
  });
});

describe("a followed list", () => {
  it("D1 CO: missing, empty, cut or wrong keeps the last good list; a good one replaces it", async () => {
    const runtime = new SimRuntime(1);
    writeFileSync(path, "- 10.0.0.1:80\n- 10.0.0.2:80\n");
    const { received, last } = follow(runtime);
    await until(runtime, () => last() === "10.0.0.1:80 10.0.0.2:80");
    rmSync(path);
    await until(runtime, () => /ENOENT/.test(last()!));
    for (const wrong of ["", "- 10.0.0.3:80\n- 10.0", "- { host: 10.0.0.3, port"]) {
      const before = received.length;
      write(wrong);
      await until(runtime, () => received.length > before);
      expect(last()).toMatch(/^! list of endpoints refused, \d+ mistakes?:/);
    }
    write("- 10.0.0.3:80\n");
    await until(runtime, () => last() === "10.0.0.3:80");
    expect(received.filter((text) => !text.startsWith("!"))).toHaveLength(2);
  });

  it("D2 CO: an empty list is believed after 30 s, and forgotten if it is filled before", async () => {
    const runtime = new SimRuntime(1);
    writeFileSync(path, "- 10.0.0.1:80\n");
    const { received, last } = follow(runtime);
    await until(runtime, () => last() === "10.0.0.1:80");
    write("[]");
    const emptiedAt = runtime.now();
    await until(runtime, () => runtime.now() > emptiedAt + HOLD_DOWN_MS / 2, 100);
    write("- 10.0.0.2:80\n");
    await until(runtime, () => last() === "10.0.0.2:80");
    const refilledAt = runtime.now();
    await until(runtime, () => runtime.now() > refilledAt + HOLD_DOWN_MS, 100);
    expect(received).toEqual(["10.0.0.1:80", "10.0.0.2:80"]);
    write("[]");
    const startedAt = runtime.now();
    await until(runtime, () => last() === "", 100);
    expect(runtime.now() - startedAt).toBeGreaterThan(HOLD_DOWN_MS);
  });

  it("that is empty from the start is believed at once", async () => {
    const runtime = new SimRuntime(1);
    writeFileSync(path, "[]");
    const { received } = follow(runtime);
    await until(runtime, () => received.length > 0);
    expect(received).toEqual([""]);
    expect(runtime.now()).toBeLessThan(HOLD_DOWN_MS);
  });

  it("reports nothing after stop and keeps no handle", async () => {
    await expectNoLeak(async () => {
      writeFileSync(path, "- 10.0.0.1:80\n");
      const runtime = new SimRuntime(1);
      const { received, watch } = follow(runtime);
      await until(runtime, () => received.length > 0);
      write("- 10.0.0.2:80\n");
      watch.refresh();
      watch.stop();
      watch.stop();
      const { promise, resolve } = Promise.withResolvers<void>();
      setTimeout(resolve, 100);
      await promise;
      await runtime.advance(60_000);
      expect(received).toEqual(["10.0.0.1:80"]);
    });
  });

  it("D1 CO: a service with a file for its endpoints calls them, and goes on when it breaks", async () => {
    writeFileSync(path, "- 10.0.0.1:80\n");
    const mesh = createMesh({
      env: {},
      runtime: new NodeRuntime(),
      config: { services: { orders: { discovery: { file: path } } } },
    });
    const hosts: string[] = [];
    const service = mesh.service(
      "orders",
      stubProtocol((exchange, address) => {
        hosts.push(address);
        exchange.reply();
      }),
    );
    const call = () => service.current(new Call("orders", new StubRequest(), true, true));
    const discovery = () => mesh.snapshot().services[0]!.discovery;
    await call();
    expect(discovery()).toMatchObject({ source: "file", state: "current" });
    write("- 10.0.0.2");
    const end = performance.now() + 10_000;
    while (discovery().state !== "stale" && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(discovery().error).toContain("[0]: must have a port");
    await call();
    expect(hosts).toEqual(["10.0.0.1:80", "10.0.0.1:80"]);
    await mesh.close(0);
  });
});
