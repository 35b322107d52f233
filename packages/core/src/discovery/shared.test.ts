/** One watch of a registry for many services of a mesh. */
import { expect, it } from "vitest";
import { Call } from "../call.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "../testing/stub-transport.ts";
import type { EndpointInfo } from "../endpoint-info.ts";
import type { EndpointSink } from "./discovery.ts";
import type { DiscoveryKind, DiscoveryMesh } from "./kind.ts";
import { SharedDiscovery, type SharedSink } from "./shared.ts";

const at = (i: number): EndpointInfo => ({ host: `10.0.0.${i}`, port: 80 });

/** A registry that counts who watches it. */
function registry() {
  const watches: { readonly sink: SharedSink; stopped: boolean; refreshed: number }[] = [];
  const makeShared = (_mesh: DiscoveryMesh): SharedDiscovery =>
    new SharedDiscovery("catalogue", (sink) => {
      const watch = { sink, stopped: false, refreshed: 0 };
      watches.push(watch);
      return { refresh: () => void watch.refreshed++, stop: () => void (watch.stopped = true) };
    });
  const kind: DiscoveryKind<{ readonly target: string }> = {
    name: "catalogue",
    fields: [{ path: "catalogue", type: "text", meaning: "Name in the registry." }],
    read: ({ catalogue: target }) => (typeof target === "string" ? { target } : undefined),
    open: ({ target }, mesh) => mesh.shared(makeShared).of(target),
  };
  return { watches, kind };
}

it("one watch serves all services, ends with the last that sleeps, and begins again", async () => {
  const { watches, kind } = registry();
  const runtime = new SimRuntime(1);
  const names = ["orders", "billing", "stock"];
  const services = Object.fromEntries(
    names.map((name) => [name, { discovery: { catalogue: name }, idle: "10s" }]),
  );
  const mesh = createMesh({ env: {}, runtime, discoveries: [kind], config: { services } });
  const protocol = stubProtocol((exchange) => exchange.reply());
  const calls = names.map((name) => {
    const service = mesh.service(name, protocol);
    return () => service.current(new Call(name, new StubRequest("/"), true, true));
  });
  const first = calls.map((call) => call());
  expect(watches).toHaveLength(1);
  for (const [i, name] of names.entries()) watches[0]!.sink.replace(name, [at(i)]);
  expect((await Promise.all(first)).map(({ code }) => code)).toEqual([200, 200, 200]);
  const addresses = () =>
    mesh.snapshot().services.map(({ endpoints }) => endpoints.map(({ address }) => address));
  expect(addresses()).toEqual([["10.0.0.0:80"], ["10.0.0.1:80"], ["10.0.0.2:80"]]);

  watches[0]!.sink.failed(new Error("gone"), "stock");
  expect(mesh.snapshot().services.map(({ discovery }) => discovery.error)).toEqual([
    undefined,
    undefined,
    "gone",
  ]);
  watches[0]!.sink.failed(new Error("all gone"));
  expect(mesh.snapshot().services.map(({ discovery }) => discovery.error)).toEqual(
    names.map(() => "all gone"),
  );

  await runtime.advance(60_000);
  expect(watches[0]!.stopped).toBe(true);
  const again = calls[0]!();
  expect(watches).toHaveLength(2);
  watches[1]!.sink.replace("orders", [at(7)]);
  expect((await again).code).toBe(200);
  await mesh.close(0);
  expect(watches[1]!.stopped).toBe(true);
});

it("a service that comes later gets what is known, and asks for what is not", () => {
  const watches: SharedSink[] = [];
  let refreshed = 0;
  const shared = new SharedDiscovery("catalogue", (sink) => {
    watches.push(sink);
    return { refresh: () => void refreshed++, stop() {} };
  });
  const heard: string[] = [];
  const sink = (name: string): EndpointSink => ({
    replace: (infos) => void heard.push(`${name} ${infos.map(({ host }) => host).join()}`),
    change: (plus, minus) => void heard.push(`${name} +${plus.length} -${minus.length}`),
    failed: (error) => void heard.push(`${name} ${error.message}`),
  });
  shared.of("a").watch(sink("a"));
  watches[0]!.change("b", [at(1), at(2)], []);
  watches[0]!.change("b", [], [at(1)]);
  expect(heard).toEqual([]);
  shared.of("b").watch(sink("b"));
  expect(heard).toEqual(["b 10.0.0.2"]);
  expect(refreshed).toBe(0);
  shared.of("c").watch(sink("c"));
  expect(refreshed).toBe(1);
});

it("P2 CO: a registry whose watch throws is begun again with the next service", () => {
  let tries = 0;
  const shared = new SharedDiscovery("catalogue", (sink) => {
    if (tries++ === 0) throw new Error("boom");
    sink.replace("a", [at(1)]);
    return { refresh() {}, stop() {} };
  });
  const heard: number[] = [];
  const sink: EndpointSink = {
    replace: (infos) => void heard.push(infos.length),
    change() {},
    failed() {},
  };
  expect(() => shared.of("a").watch(sink)).toThrow("boom");
  shared.of("a").watch(sink);
  expect(heard).toEqual([1]);
});
