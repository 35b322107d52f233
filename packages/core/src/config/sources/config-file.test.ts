import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { LogLine } from "../../log.ts";
import { createMesh, type Mesh } from "../../mesh.ts";
import type { MeshOptions } from "../../mesh-options.ts";
import { expectNoLeak } from "../../testing/leak-check.ts";
import { stubProtocol } from "../../testing/stub-transport.ts";
import { ConfigError } from "../mistakes.ts";
import { parseConfigText } from "./file.ts";

let folder: string;
let path: string;
const meshes: Mesh[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "inmesh-live-"));
  path = join(folder, "mesh.yaml");
});
afterEach(async () => {
  await Promise.all(meshes.splice(0).map((mesh) => mesh.close(0)));
  rmSync(folder, { recursive: true, force: true });
});

const yaml = (requestMs: number, more = ""): string =>
  `services:\n  orders:\n    discovery: { static: ["10.0.0.1:80"] }\n    timeouts: { request: ${requestMs}ms }\n${more}`;

function replace(text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

function start(options: MeshOptions = {}) {
  const log: LogLine[] = [];
  const mesh = createMesh({
    env: {},
    configFile: path,
    log: (line) => void (line.event.startsWith("config.") && log.push(line)),
    ...options,
  });
  meshes.push(mesh);
  const requestMs = () => mesh.config.current.services["orders"]?.timeouts.requestMs;
  const updates = () =>
    Object.fromEntries(
      mesh
        .metrics()
        .filter(
          ({ name, labels }) => name === "inmesh.config.updates" && labels["source"] === "file",
        )
        .map((one) => [one.labels["result"], "value" in one ? one.value : 0]),
    );
  const gauge = (name: string) => {
    const series = mesh.metrics().find((one) => one.name === name);
    return series !== undefined && "value" in series ? series.value : undefined;
  };
  return { mesh, log, requestMs, updates, gauge, state: () => mesh.snapshot().config };
}

async function until(condition: () => boolean): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error("it did not happen");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

describe("a configuration file that changes", () => {
  it("is applied to services that run, written in place or replaced", async () => {
    writeFileSync(path, yaml(100));
    const { mesh, requestMs, state, updates, log } = start();
    const service = mesh.service(
      "orders",
      stubProtocol((exchange) => exchange.reply()),
    );
    writeFileSync(path, yaml(200));
    await until(() => requestMs() === 200);
    replace(yaml(300));
    await until(() => requestMs() === 300);
    expect(service.config.timeouts.requestMs).toBe(300);
    expect(state()).toEqual({
      version: 3,
      file: path,
      state: "current",
      mistakes: [],
      sources: [{ name: "file", rank: "file", state: "current", version: undefined, mistakes: [] }],
    });
    expect(updates()).toEqual({ applied: 2 });
    expect(log.map(({ event }) => event)).toEqual(["config.applied", "config.applied"]);
  });

  it("K8 CO: 0 bytes, cut, deleted, unreadable and wrong: the last good stays, and says why", async () => {
    writeFileSync(path, yaml(100));
    const { mesh, requestMs, state, updates, gauge, log } = start();
    const because = async (rule: RegExp): Promise<void> => {
      await until(() => state().mistakes.some((mistake) => rule.test(mistake.rule)));
      expect([requestMs(), state().version, state().state]).toEqual([100, 1, "refused"]);
      expect(gauge("inmesh.config.refused")).toBe(1);
    };
    truncateSync(path, 0);
    await because(/is empty/);
    replace(yaml(200).slice(0, 60));
    await because(/cannot be read: /);
    rmSync(path);
    await because(/cannot be read \(ENOENT\)/);
    mkdirSync(path);
    await because(/cannot be read \(not a file\)/);
    rmSync(path, { recursive: true });
    writeFileSync(path, yaml(0, "    retry: { attempts: 99 }\n"));
    await because(/must be at most 5/);
    expect(state().mistakes).toEqual([
      {
        path: "services.orders.timeouts.request",
        rule: "must be at least 1ms",
        value: '"0ms"',
        origin: `file:${path}`,
        line: 4,
      },
      {
        path: "services.orders.retry.attempts",
        rule: "must be at most 5",
        value: "99",
        origin: `file:${path}`,
        line: 5,
      },
    ]);
    const refused = log.at(-1)!;
    expect([refused.level, refused.event]).toEqual(["warn", "config.refused"]);
    expect(refused.message).toContain(`file:${path}:5: services.orders.retry.attempts: must be at`);
    expect(refused.message).toContain("configuration 1 stays in force");
    // The same text as at the start: nothing to apply, and nothing wrong any more.
    replace(yaml(100));
    await until(() => state().state === "current");
    expect(gauge("inmesh.config.refused")).toBe(0);
    replace(yaml(150));
    await until(() => requestMs() === 150);
    expect(updates()).toMatchObject({ unchanged: 1, applied: 1 });
    expect(updates()["refused"]).toBeGreaterThanOrEqual(5);
    expect(mesh.snapshot().config.version).toBe(2);
  });

  it("K8 CO: a Kubernetes mount is followed through the swap of its ..data link", async () => {
    const version = (name: string, text: string): void => {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "mesh.yaml"), text);
      symlinkSync(name, join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    };
    version("..1", yaml(100));
    symlinkSync(join("..data", "mesh.yaml"), path);
    const { requestMs, state } = start();
    expect(requestMs()).toBe(100);
    version("..2", yaml(200));
    rmSync(join(folder, "..1"), { recursive: true });
    await until(() => requestMs() === 200);
    version("..3", "services: [");
    await until(() => state().state === "refused");
    version("..4", yaml(400));
    await until(() => requestMs() === 400);
    expect(state().state).toBe("current");
  });

  it("K3 CO: garbage, 100 MiB and hostile values are refused whole; the previous one stays", async () => {
    writeFileSync(path, yaml(100));
    const { requestMs, state } = start();
    const huge = join(folder, "huge");
    writeFileSync(huge, "");
    truncateSync(huge, 100 * 1024 * 1024);
    const routes = (route: string): string => yaml(200, `    routes: [${route}]\n`);
    const hostile: [string | undefined, RegExp][] = [
      ["\u0000\u0001{{{{", /must be an object/],
      ["{ services: [", /cannot be read/],
      ["[".repeat(20_000), /cannot be read/],
      [undefined, /at most 4 MiB/],
      [
        routes("{ matches: [{ path: { type: RegularExpression, value: '(?=a)' } }] }"),
        /expression/,
      ],
      [routes("{ backendRefs: [{ name: orders, weight: 0 }] }"), /weight above 0/],
      [routes("{ backendRefs: [{ name: orders, weight: -1 }] }"), /at least 0/],
      [routes("{ backendRefs: [{ name: nowhere }] }"), /service of this configuration/],
      ["apiVersion: v99\nkind: Mesh\n", /is not known|must not/],
      [`a: &a [${"x,".repeat(50)}]\nb: [${"*a,".repeat(200)}]\n`, /aliases/],
    ];
    for (const [text, rule] of hostile) {
      if (text === undefined) renameSync(huge, path);
      else replace(text);
      await until(() => state().mistakes.some((mistake) => rule.test(mistake.rule)));
      expect([requestMs(), state().version, state().state]).toEqual([100, 1, "refused"]);
    }
  });

  it("K2 CO: with its file gone the last good configuration serves on, and new services too", async () => {
    writeFileSync(path, `${yaml(100)}  bills: { url: "http://10.0.0.2:80" }\n`);
    const { mesh, state } = start();
    rmSync(path);
    await until(() => state().state === "refused");
    const protocol = stubProtocol((exchange) => exchange.reply());
    expect(mesh.service("bills", protocol).config.authority).toBe("10.0.0.2");
  });

  it("a file that code contradicts is refused, and applied once code no longer does", async () => {
    writeFileSync(path, yaml(100));
    const { mesh, requestMs, state, log } = start({
      config: { services: { orders: { timeouts: { backendRequestMs: 80 } } } },
    });
    replace(yaml(50));
    await until(() => state().state === "refused");
    expect(state().mistakes).toMatchObject([{ origin: "code", value: '"80ms"' }]);
    const { length } = log;
    mesh.update({ services: { orders: { timeouts: { backendRequestMs: 80 }, trustNacks: true } } });
    expect(log.slice(length).map(({ event }) => event)).toEqual(["config.applied"]);
    expect(mesh.update({})).toBe(4);
    expect([requestMs(), state().state]).toEqual([50, "current"]);
  });

  it("wins over environment and defaults, and loses to code, also after it changed", async () => {
    writeFileSync(path, "services: { orders: { timeouts: { request: 2s, connect: 200ms } } }");
    const { mesh } = start({
      env: { INMESH_SERVICE_ORDERS: "http://orders:8080" },
      config: { services: { orders: { timeouts: { connectMs: 77 } } } },
    });
    const timeouts = () => mesh.config.current.services["orders"]?.timeouts;
    expect(timeouts()).toMatchObject({ requestMs: 2000, connectMs: 77 });
    replace("services: { orders: { timeouts: { request: 3s, connect: 300ms } } }");
    await until(() => timeouts()?.requestMs === 3000);
    expect(timeouts()?.connectMs).toBe(77);
    mesh.update({});
    expect(timeouts()).toMatchObject({ requestMs: 3000, connectMs: 300 });
    replace("{}");
    await until(() => timeouts()?.requestMs === 15_000);
    expect(mesh.config.current.services["orders"]?.authority).toBe("orders:8080");
  });

  it("costs no handle once the mesh is closed, and nothing is applied after that", async () => {
    writeFileSync(path, yaml(100));
    await expectNoLeak(async () => {
      const { mesh, requestMs } = start();
      replace(yaml(200));
      await until(() => requestMs() === 200);
      await mesh.close(0);
      replace(yaml(300));
      await new Promise((resolve) => setTimeout(resolve, 100));
      expect(requestMs()).toBe(200);
    });
  });
});

describe("JSON", () => {
  it("K3 CO: maps as keys of maps are a mistake, and cost neither gigabytes nor seconds", () => {
    const rules = (text: string) => {
      const read = parseConfigText(text, "mesh.yaml");
      return read.ok ? [] : read.mistakes.map(({ rule }) => rule);
    };
    // Without a mistake in its syntax, 1.4 kB: as text, its key would be longer than a string can be.
    const deep = `services: ${"{ ? ".repeat(200)}a${" }".repeat(200)}`;
    const startedAt = performance.now();
    expect(new Set(rules(deep))).toEqual(new Set([expect.stringMatching(/keys must be text/)]));
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    expect(rules("? [a, b]\n: x")).toEqual([expect.stringMatching(/keys must be text/)]);
    expect(rules("? &k { a: 1 }\n: x")).toEqual([expect.stringMatching(/keys must be text/)]);
  });

  it("K3 CO: nested beyond every stack is a mistake, and keys written twice are found", () => {
    const rules = (text: string): string[] => {
      const read = parseConfigText(text, "mesh.json");
      return read.ok ? [] : read.mistakes.map(({ rule }) => rule);
    };
    expect(rules("[".repeat(200_000) + "]".repeat(200_000))).toEqual(["is nested too deeply"]);
    expect(rules('{"a":{"b":1,"b":2}}')).toEqual([expect.stringMatching(/unique/)]);
    const blanks = " ".repeat(300_000);
    expect(rules(`{"a":{"b":1,${blanks}"b":2}}`)).toEqual([expect.stringMatching(/twice/)]);
    const tricky = { a: { 'b\\":': 1, c: 'b": x' }, d: ["e:", { f: {} }, '"'] };
    expect(rules(JSON.stringify(tricky, null, 1))).toEqual([]);
  });
});

describe("the last good one on disk", () => {
  const snapshotFile = (): string => join(folder, "state", "last-good.json");
  const saved = (): string | undefined => {
    try {
      return readFileSync(snapshotFile(), "utf8");
    } catch {
      return undefined;
    }
  };

  beforeEach(() => mkdirSync(join(folder, "state")));

  it("K1 CO: stands in for a file that is missing or wrong at start, until the file is good", async () => {
    writeFileSync(path, yaml(100, "    idle: none\n"));
    const first = start({ snapshotFile: snapshotFile() });
    await first.mesh.close(0);
    rmSync(path);
    const second = start({ snapshotFile: snapshotFile() });
    expect([second.requestMs(), second.state().state]).toEqual([100, "refused"]);
    expect(second.mesh.config.current.services["orders"]?.idleMs).toBe(Infinity);
    expect(second.log[0]).toMatchObject({ level: "warn", event: "config.restored" });
    expect(second.log[0]!.message).toContain("cannot be read (ENOENT)");
    writeFileSync(path, yaml(200));
    await until(() => second.requestMs() === 200);
    expect(second.state().state).toBe("current");
    await second.mesh.close(0);
    writeFileSync(path, yaml(0));
    const third = start({ snapshotFile: snapshotFile() });
    expect(third.requestMs()).toBe(200);
    expect(third.state().mistakes[0]?.path).toBe("services.orders.timeouts.request");
  });

  it("K9 CO: corrupt, cut, foreign or newer: not used, and the start says so", async () => {
    writeFileSync(path, yaml(100));
    await start({ snapshotFile: snapshotFile() }).mesh.close(0);
    const good = saved()!;
    rmSync(path);
    const other = { ...(JSON.parse(good) as object), of: "/etc/other/mesh.yaml" };
    const newer = { ...(JSON.parse(good) as object), schema: 2 };
    const damaged: [string | undefined, RegExp][] = [
      ["\u0000\u0000", /not JSON/],
      [good.slice(0, -10), /not JSON/],
      ["[]", /no snapshot/],
      ["", /not JSON/],
      [JSON.stringify(other), /another configuration file/],
      [JSON.stringify(newer), /has schema 2, and this inmesh reads 1/],
      [undefined, /ENOENT/],
    ];
    for (const [text, rule] of damaged) {
      if (text === undefined) rmSync(snapshotFile());
      else writeFileSync(snapshotFile(), text);
      let error: unknown;
      try {
        start({ snapshotFile: snapshotFile() });
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(ConfigError);
      const rules = (error as ConfigError).mistakes.map((mistake) => mistake.rule);
      expect(rules[0]).toBe("cannot be read (ENOENT): there is no such file");
      expect(rules[1]).toMatch(rule);
    }
    // With a file that is good, it is not read.
    writeFileSync(snapshotFile(), "\u0000");
    writeFileSync(path, yaml(300));
    const { mesh, requestMs } = start({ snapshotFile: snapshotFile() });
    expect(requestMs()).toBe(300);
    await mesh.close(0);
    expect(saved()).toContain("300ms");
  });

  it("is written whole, for this user only, and not more often than once a second", async () => {
    writeFileSync(path, yaml(100));
    const { mesh, requestMs } = start({ snapshotFile: snapshotFile() });
    await until(() => saved() !== undefined);
    const seen = new Set<string>();
    const looking = setInterval(() => seen.add(saved()!), 1);
    for (let ms = 201; ms <= 210; ms++) {
      replace(yaml(ms));
      await until(() => requestMs() === ms);
    }
    await mesh.close(0);
    clearInterval(looking);
    expect(saved()).toContain("210ms");
    for (const text of seen) expect(JSON.parse(text)).toMatchObject({ schema: 1, of: path });
  });

  it("that cannot be written is reported, and stops nothing", async () => {
    writeFileSync(path, yaml(100));
    const { mesh, log, requestMs } = start({ snapshotFile: join(folder, "nowhere", "s.json") });
    await until(() => log.length > 0);
    expect(log[0]).toMatchObject({ level: "warn", event: "config.snapshot_failed" });
    replace(yaml(200));
    await until(() => requestMs() === 200);
    await mesh.close(0);
  });

  it("K1 CO: without one, a start without its file fails and says why", () => {
    expect(() => start()).toThrow(/cannot be read \(ENOENT\)/);
  });
});
