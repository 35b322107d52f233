/** Names such as `orders.shop.svc`: endpoints from slices, DNS where the API server cannot be asked. */
import { createMesh, type LogLine } from "@inmesh/core";
import {
  staticDiscovery,
  type Discovery,
  type DiscoveryMesh,
  type EndpointWatch,
} from "@inmesh/core/spi/discovery";
import { SimRuntime } from "@inmesh/core/testing";
import { meshClient, meshServer } from "@inmesh/http";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { ApiError } from "../src/api-error.ts";
import { kubernetes } from "../src/index.ts";
import { domainsIn, serviceNamed } from "../src/names.ts";
import type { SliceSink } from "../src/subscriber.ts";
import { withDns } from "../src/with-dns.ts";
import { FakeApi, refuse } from "./support/fake-api.ts";
import { Heard, kubeconfigFor } from "./support/watched.ts";

describe("which names are Services", () => {
  const named = (host: string): object | undefined =>
    serviceNamed({ kind: "dns", host, port: 8080 });
  const orders = { namespace: "shop", service: "orders", port: "", number: 8080 };

  it.each(["orders.shop.svc", "orders.shop.svc.cluster.local", "orders.shop.svc.cluster.local."])(
    "%s is",
    (host) => expect(named(host)).toEqual(orders),
  );

  it.each([
    "orders",
    "orders.shop",
    "svc",
    "shop.svc",
    "orders-0.orders.shop.svc",
    "orders.shop.svc.example",
    "orders.shop.svc.cluster.local.example",
    "orders_.shop.svc",
    "-orders.shop.svc",
    `${"a".repeat(64)}.shop.svc`,
    "10-0-0-1.shop.pod.cluster.local",
  ])("%s is not", (host) => expect(named(host)).toBeUndefined());

  it("an SRV record has the name of the port", () => {
    const of = (name: string): object | undefined => serviceNamed({ kind: "srv", name });
    const http = { namespace: "shop", service: "orders", port: "http" };
    expect(of("_http._tcp.orders.shop.svc.cluster.local")).toEqual(http);
    expect(of("_HTTP._tcp.orders.shop.svc")).toEqual(http);
    expect(of("_http._udp.orders.shop.svc")).toBeUndefined();
    expect(of("_http._tcp.orders.example")).toBeUndefined();
  });

  it("the domain of the cluster is read from the search list of the pod", () => {
    const text =
      "nameserver 10.96.0.10\nsearch shop.svc.k8s.example. svc.k8s.example. k8s.example\n";
    expect(domainsIn(text)).toEqual(["cluster.local", "k8s.example"]);
    expect(domainsIn("")).toEqual(["cluster.local"]);
  });
});

describe("slices before DNS", () => {
  const dns = staticDiscovery([{ host: "10.96.0.1", port: 80 }]);
  const pods = [{ host: "10.0.0.1", port: 8080 }];
  let runtime: SimRuntime;
  let lines: LogLine[];
  let slices: SliceSink;
  let asked: number;
  let stopped: number;
  let heard: Heard;
  let watch: EndpointWatch;

  beforeEach(() => {
    runtime = new SimRuntime(1);
    lines = [];
    asked = stopped = 0;
    heard = new Heard();
    const made = new Map<unknown, unknown>();
    const mesh = {
      runtime,
      log: (line: LogLine) => void lines.push(line),
      shared(make: (mesh: DiscoveryMesh) => unknown) {
        if (!made.has(make)) made.set(make, make(mesh as unknown as DiscoveryMesh));
        return made.get(make);
      },
    } as unknown as DiscoveryMesh;
    const own: Pick<Discovery, "watch"> = {
      watch(sink) {
        asked++;
        slices = sink;
        return { refresh() {}, stop: () => void stopped++ };
      },
    };
    watch = withDns(own, dns, "shop/orders", mesh).watch(heard);
  });

  const events = (): string[] => lines.map(({ event, level }) => `${level} ${event}`);

  it("slices that come in time are all that is asked", async () => {
    slices.replace(pods);
    await runtime.advance(10_000);
    expect(heard.addresses).toBe("10.0.0.1:8080");
    expect(events()).toEqual(["info discovery.kubernetes"]);
    expect(lines[0]!.message).toContain("INMESH_KUBERNETES=off");
    slices.failed(new Error("gone"));
    expect(heard.news).toEqual(["replace", "failed"]);
    watch.stop();
    expect(stopped).toBe(1);
  });

  it("an API server that does not answer costs a second, and is used as soon as it does", async () => {
    await runtime.advance(999);
    expect(heard.news).toEqual([]);
    await runtime.advance(1);
    expect(heard.addresses).toBe("10.96.0.1:80");
    slices.failed(new Error("connect ECONNREFUSED"));
    slices.failed(new Error("connect ETIMEDOUT"));
    expect(heard.errors).toEqual([]);
    slices.replace(pods);
    expect(heard.addresses).toBe("10.0.0.1:8080");
    expect(events()).toEqual([
      "info discovery.kubernetes",
      "warn discovery.fallback",
      "info discovery.kubernetes",
    ]);
  });

  it("what RBAC refuses is asked again after 5 to 10 s, and then ever more rarely", async () => {
    const refusal = new ApiError(403, "Allow it: kubectl create role");
    slices.failed(refusal);
    expect(heard.addresses).toBe("10.96.0.1:80");
    expect(lines[1]!.message).toContain("Allow it: kubectl create role");
    expect(stopped).toBe(1);
    await runtime.advance(4_900);
    expect(asked).toBe(1);
    for (let i = 0; i < 360; i++) {
      if (asked > stopped) slices.failed(refusal);
      await runtime.advance(10_000);
    }
    expect(asked).toBeGreaterThan(8);
    expect(asked).toBeLessThan(40);
    expect(events()).toEqual(["info discovery.kubernetes", "warn discovery.fallback"]);
    if (asked === stopped) await runtime.advance(600_000);
    slices.replace(pods);
    expect(heard.addresses).toBe("10.0.0.1:8080");
    watch.stop();
    await runtime.advance(1_000_000);
    expect(asked).toBe(stopped);
  });

  it("a name without a slice is one for DNS, and a Service that was deleted is none", () => {
    slices.noSlices!("no EndpointSlice exists");
    expect(heard.addresses).toBe("10.96.0.1:80");
    slices.replace(pods);
    slices.noSlices!("no EndpointSlice exists");
    expect(heard.addresses).toBe("");
    expect(heard.why).toBe("no EndpointSlice exists");
  });

  it("nothing is reported after the end", async () => {
    watch.stop();
    slices.replace(pods);
    slices.failed(new ApiError(403, "no"));
    slices.noSlices!("none");
    await runtime.advance(1_000_000);
    expect(heard.news).toEqual([]);
    expect(asked).toBe(stopped);
  });
});

describe("a mesh in front of an API server", () => {
  let api: FakeApi;
  let apiPort: number;
  let lines: LogLine[];
  let port: number;
  let answeredAs: string[];

  beforeEach(async () => {
    api = new FakeApi();
    apiPort = await api.listen();
    lines = [];
    answeredAs = [];
    const server = meshServer(
      (request, response) => {
        answeredAs.push(request.headers.host ?? "");
        response.end("pod");
      },
      { discoveryWaitMs: 0, idleWaitMs: 0 },
    );
    ({ port } = await server.listen(0, "127.0.0.1"));
    onTestFinished(() => server.close(0));
  });

  afterEach(() => api.close());

  const client = (url: string, names = true) => {
    const mesh = createMesh({
      env: {},
      log: (line) => void lines.push(line),
      discoveries: [kubernetes({ kubeconfig: kubeconfigFor(apiPort, "token"), names })],
    });
    onTestFinished(() => mesh.close(0));
    return { orders: meshClient(url, { mesh }), mesh };
  };
  const slice = (...ports: object[]): void =>
    api.put({ name: "orders-a", service: "orders", ports, endpoints: [{ address: "127.0.0.1" }] });
  const said = (): string => lines.map(({ event, message }) => `${event}: ${message}`).join("\n");

  it("a URL is enough: its port is that of the Service, and the only port of the pods is taken", async () => {
    slice({ name: "http", port });
    const { orders, mesh } = client("http://orders.shop.svc:8080");
    expect(await (await orders.fetch("/")).text()).toBe("pod");
    expect(answeredAs).toEqual(["orders.shop.svc:8080"]);
    const [service] = mesh.snapshot().services;
    expect(service?.discovery.source).toBe("kubernetes");
    expect(service?.endpoints.map(({ address }) => address)).toEqual([`127.0.0.1:${port}`]);
    expect(said()).toContain("names such as orders.shop.svc are looked up as EndpointSlices");
    expect(api.requests.every(({ url }) => url.pathname.endsWith("/endpointslices"))).toBe(true);
  });

  it("of several ports the Service says which has the number", async () => {
    slice({ name: "metrics", port: 9 }, { name: "http", port });
    const ports = [
      { name: "metrics", port: 9100 },
      { name: "http", port: 80 },
    ];
    api.objects.set("/api/v1/namespaces/shop/services/orders", {
      spec: { clusterIP: "10.96.0.9", ports },
    });
    const { orders } = client("http://orders.shop.svc");
    expect(await (await orders.fetch("/")).text()).toBe("pod");
  });

  it("of a headless Service the number is that of the pods", async () => {
    slice({ name: "metrics", port: 9 }, { name: "http", port });
    const ports = [{ name: "metrics", port }];
    api.objects.set("/api/v1/namespaces/shop/services/orders", {
      spec: { clusterIP: "None", ports },
    });
    const { orders } = client(`http://orders.shop.svc.cluster.local:${port}`);
    expect(await (await orders.fetch("/")).text()).toBe("pod");
  });

  it("a port that the Service does not have, or may not be read for, is looked up by DNS", async () => {
    slice({ name: "metrics", port: 9 }, { name: "http", port });
    api.objects.set("/api/v1/namespaces/shop/services/orders", {
      spec: { ports: [{ name: "http", port: 80 }] },
    });
    const { orders } = client("http://orders.shop.svc:81");
    await expect(orders.fetch("/", { timeoutMs: 1_500 })).rejects.toThrow();
    expect(said()).toContain("the Service has no port 81: its ports are 80 (http)");
    lines = [];
    api.intercept = (url, _, response) => {
      if (!url.pathname.includes("/services/")) return false;
      refuse(response, 403, "Forbidden", "services is forbidden");
      return true;
    };
    const other = client("http://orders.shop.svc:82");
    await expect(other.orders.fetch("/", { timeoutMs: 1_500 })).rejects.toThrow();
    expect(said()).toContain("add get of services to the role");
  });

  it("`names: false` leaves such names to DNS", async () => {
    slice({ name: "http", port });
    const { orders } = client("http://orders.shop.svc:8080", false);
    await expect(orders.fetch("/", { timeoutMs: 1_000 })).rejects.toThrow();
    expect(api.requests).toEqual([]);
  });
});
