/** The sources keep the contract of discovery.ts. */
import { chmodSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "vitest";
import { discoveryConformance, type DiscoveryAdapter } from "../testing/discovery-conformance.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { addressOf, type EndpointInfo } from "../endpoint-info.ts";
import { dnsDiscovery } from "./dns/dns.ts";
import { DnsError } from "./dns/dns-error.ts";
import type { Resolver } from "./dns/resolver.ts";
import { fileDiscovery } from "./file/file.ts";
import { lazyDiscovery } from "./lazy.ts";
import { Announcer, type Announced } from "./registry/announce.ts";
import { registryDiscovery } from "./registry/registry.ts";
import { SharedDiscovery, type SharedSink } from "./shared.ts";
import { staticDiscovery } from "./static/static.ts";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Virtual time goes on while the disk works. */
function clock(runtime: SimRuntime, stepMs: number) {
  const settle = async (): Promise<void> => {
    for (let i = 0; i < 50; i++) {
      await runtime.advance(stepMs);
      await pause(1);
    }
  };
  const until = async (condition: () => boolean): Promise<void> => {
    const end = performance.now() + 10_000;
    while (!condition()) {
      if (performance.now() > end) throw new Error("it was never reported");
      await runtime.advance(stepMs);
      await pause(1);
    }
  };
  return { settle, until };
}

const fixed: DiscoveryAdapter = {
  changes: false,
  open: (known) =>
    Promise.resolve({
      discovery: staticDiscovery(known),
      say() {},
      ...clock(new SimRuntime(1), 10),
      close: () => Promise.resolve(),
    }),
};

const file: DiscoveryAdapter = {
  changes: true,
  drains: true,
  open(known) {
    const folder = mkdtempSync(join(tmpdir(), "inmesh-conformance-"));
    const path = join(folder, "endpoints.json");
    const say = (infos: readonly EndpointInfo[] | undefined): void => {
      writeFileSync(`${path}.new`, infos === undefined ? "[" : JSON.stringify(infos));
      renameSync(`${path}.new`, path);
    };
    say(known);
    const runtime = new SimRuntime(1);
    return Promise.resolve({
      discovery: lazyDiscovery("file", () => Promise.resolve(fileDiscovery(path, runtime))),
      say,
      ...clock(runtime, 10),
      close: () => Promise.resolve(rmSync(folder, { recursive: true })),
    });
  },
};

const dns: DiscoveryAdapter = {
  changes: true,
  open(first) {
    let known: readonly EndpointInfo[] | undefined = first;
    const resolver: Resolver = {
      addresses: (name) =>
        known === undefined
          ? Promise.reject(new DnsError("servfail", `dns A ${name}: SERVFAIL`))
          : Promise.resolve({ addresses: known.map(({ host }) => host), ttlMs: 5_000 }),
      services: () => Promise.reject(new Error("not asked")),
    };
    const runtime = new SimRuntime(1);
    const discovery = dnsDiscovery(
      { kind: "dns", host: "orders.test", port: 80 },
      { runtime, resolver },
    );
    return Promise.resolve({
      discovery,
      say(next) {
        known = next;
      },
      ...clock(runtime, 500),
      close: () => Promise.resolve(),
    });
  },
};

/** One watch for all: what is said of one target is said beside another that has nothing to do with it. */
const shared: DiscoveryAdapter = {
  changes: true,
  drains: true,
  open(first) {
    let known: readonly EndpointInfo[] | undefined = first;
    const runtime = new SimRuntime(1);
    const sinks = new Set<SharedSink>();
    const speak = (sink: SharedSink): void => {
      sink.replace("billing", [{ host: "10.9.9.9", port: 80 }]);
      if (known === undefined) sink.failed(new Error("the registry is gone"));
      else sink.replace("orders", known);
    };
    const registry = new SharedDiscovery("registry", (sink) => {
      sinks.add(sink);
      const timer = runtime.after(10, () => speak(sink), undefined);
      return {
        refresh: () => void runtime.after(1, () => sinks.has(sink) && speak(sink), undefined),
        stop() {
          timer.cancel();
          sinks.delete(sink);
        },
      };
    });
    return Promise.resolve({
      discovery: registry.of("orders"),
      say(next) {
        known = next;
        for (const sink of sinks) speak(sink);
      },
      ...clock(runtime, 10),
      close: () => Promise.resolve(),
    });
  },
};

/** Announced by this process, which is asked whether it lives over its own socket. */
const registry: DiscoveryAdapter = {
  changes: true,
  drains: true,
  async open(first) {
    const dir = mkdtempSync(join(tmpdir(), "inmesh-conformance-"));
    const runtime = new SimRuntime(1);
    const announcer = new Announcer(dir, runtime);
    const announced = new Map<string, Announced>();
    const say = (known: readonly EndpointInfo[] | undefined): void => {
      // A directory that others may write is not believed.
      chmodSync(dir, known === undefined ? 0o777 : 0o700);
      if (known === undefined) return;
      const infos = new Map(known.map((info) => [addressOf(info), info]));
      for (const [address, one] of announced) if (!infos.has(address)) one.say(undefined);
      for (const [address, { draining = false }] of infos) {
        let one = announced.get(address);
        if (one === undefined) announced.set(address, (one = announcer.add(() => {})));
        one.say({
          version: 1,
          name: "orders",
          protocol: "http",
          speaks: ["http/1.1"],
          tls: false,
          addresses: [address],
          state: draining ? "draining" : "serving",
          pid: process.pid,
          startedAtUnixMs: 0,
        });
      }
    };
    say(first);
    while (announcer.id === undefined) await pause(1);
    const client = { protocol: "http", scheme: "http", http2: false } as const;
    return {
      discovery: registryDiscovery({ dir, name: "orders" }, client, runtime),
      say,
      ...clock(runtime, 10),
      close() {
        for (const one of announced.values()) one.say(undefined);
        return Promise.resolve(rmSync(dir, { recursive: true }));
      },
    };
  },
};

describe.each([
  ["static", fixed],
  ["file", file],
  ["DNS", dns],
  ["shared", shared],
  ["registry", registry],
])("discovery conformance: %s", (_name, adapter) => {
  for (const { title, run } of discoveryConformance(adapter)) it(title, run);
});
