/** What `inmesh check` says of Kubernetes, of a process that calls a Service and has a server. */
import { createMesh } from "@inmesh/core";
import type { Check, Checks } from "@inmesh/core/inspect";
import { Inspection } from "@inmesh/core/spi/inspect";
import { meshClient, meshServer } from "@inmesh/http";
import { afterEach, beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { kubernetes } from "../src/index.ts";
import { FakeApi, refuse } from "./support/fake-api.ts";
import { accountFolder } from "./support/pod.ts";

const POD = "/api/v1/namespaces/web/pods/front-abc";
const PROBE = { httpGet: { path: "/readyz", port: "http" }, periodSeconds: 2 };
const ca = new TestCa();
let api: FakeApi;
let apiPort: number;
let port: number;

beforeEach(async () => {
  api = new FakeApi(ca.issue({ names: ["127.0.0.1"] }));
  api.token = "of-front";
  apiPort = await api.listen();
  vi.stubEnv("KUBERNETES_SERVICE_HOST", "127.0.0.1");
  vi.stubEnv("KUBERNETES_SERVICE_PORT", String(apiPort));
  vi.stubEnv("HOSTNAME", "front-abc");
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await api.close();
});

const pod = (container: object, spec: object = {}): void =>
  void api.objects.set(POD, { spec: { containers: [{ name: "front", ...container }], ...spec } });

/** The checks of a process in a pod, after a call. */
async function checked(token = "of-front"): Promise<Checks> {
  const folder = accountFolder({ token, ca: ca.cert, namespace: "web" });
  const mesh = createMesh({
    env: {},
    discoveries: [kubernetes({ serviceAccountDir: folder })],
  });
  const server = meshServer((_, response) => response.end("pod"), { name: "front", mesh });
  ({ port } = await server.listen(0, "127.0.0.1"));
  onTestFinished(async () => {
    await mesh.close(0);
    await server.close(0);
  });
  const ports = [{ name: "http", port }];
  if (api.watching === 0 && !slicesAreMissing) {
    api.put({ name: "orders-a", service: "orders", ports, endpoints: [{ address: "127.0.0.1" }] });
  }
  await meshClient("http://orders.shop.svc", { mesh })
    .fetch("/", { timeoutMs: 500 })
    .catch(() => {});
  return new Inspection(mesh).checks();
}

let slicesAreMissing = false;

const of = ({ checks }: Checks): string[] =>
  checks
    .filter(({ group }) => group === "kubernetes")
    .map(
      ({ id, subject, status }) => `${status} ${id}${subject === undefined ? "" : ` ${subject}`}`,
    );
const one = ({ checks }: Checks, id: string): Check => checks.find((check) => check.id === id)!;

it("all is well: five sentences", async () => {
  pod({ readinessProbe: PROBE }, { terminationGracePeriodSeconds: 45 });
  const answer = await checked();
  expect(of(answer)).toEqual([
    "ok kubernetes-api",
    "ok kubernetes-access shop",
    "ok kubernetes-slices shop/orders",
    "ok kubernetes-readiness front (http)",
    "ok kubernetes-grace",
  ]);
  expect(one(answer, "kubernetes-api").message).toBe("the API server v1.34.0-test answers");
  expect(one(answer, "kubernetes-grace").message).toBe(
    "terminationGracePeriodSeconds is 45, of which a drain waits 6s for its callers",
  );
  expect(one(answer, "kubernetes-api").page).toBe("docs/reference/checks.md#kubernetes-api");
});

it("an API server that refuses the token, or does not answer, is all that is said", async () => {
  const refused = await checked("of-somebody-else");
  expect(of(refused)).toEqual(["failure kubernetes-api"]);
  expect(one(refused, "kubernetes-api").message).toContain("(401)");
  expect(JSON.stringify(refused)).not.toContain("of-somebody-else");
  vi.stubEnv("KUBERNETES_SERVICE_PORT", "1");
  const away = await checked();
  expect(one(away, "kubernetes-api").message).toContain("ECONNREFUSED");
});

it("D12 CO: what RBAC refuses comes with the commands that allow it", async () => {
  pod({ readinessProbe: PROBE });
  api.intercept = (url, _, response) => {
    if (!url.pathname.endsWith("/endpointslices")) return false;
    refuse(response, 403, "Forbidden", 'User "system:serviceaccount:web:front" cannot list');
    return true;
  };
  const answer = await checked();
  expect(of(answer)).toContain("warning kubernetes-access shop");
  const { hint } = one(answer, "kubernetes-access");
  expect(hint).toContain("kubectl create role inmesh-endpoints -n shop --verb=list,watch");
  expect(hint).toContain("kubectl create rolebinding");
});

it("outside of a cluster nothing is said, unless a service is to be found there", async () => {
  vi.stubEnv("KUBERNETES_SERVICE_HOST", "");
  const mesh = createMesh({
    env: {},
    discoveries: [kubernetes({ kubeconfig: "/nowhere/config" })],
    config: { services: { orders: { discovery: { kubernetes: "shop/orders:http" } } } },
  });
  onTestFinished(() => mesh.close(0));
  expect(of(await new Inspection(mesh).checks())).toEqual([]);
  await meshClient("orders", { mesh })
    .fetch("/", { timeoutMs: 100 })
    .catch(() => {});
  expect(of(await new Inspection(mesh).checks())).toEqual(["failure kubernetes-api"]);
});

it("a Service without a slice is one that may not exist", async () => {
  slicesAreMissing = true;
  onTestFinished(() => void (slicesAreMissing = false));
  const answer = await checked();
  expect(of(answer)).toContain("warning kubernetes-slices shop/orders");
  expect(one(answer, "kubernetes-slices").hint).toContain("kubectl get service orders -n shop");
});

it("a pod that this process may not read is not looked at, which is no warning", async () => {
  api.intercept = (url, _, response) => {
    if (url.pathname !== POD) return false;
    refuse(response, 403, "Forbidden", "pods is forbidden");
    return true;
  };
  const answer = await checked();
  expect(of(answer).at(-1)).toBe("ok kubernetes-grace");
  expect(one(answer, "kubernetes-grace").message).toContain("get of pods");
});

it.each<[string, object, string]>([
  ["no probe", {}, "no container of the pod has a readiness probe"],
  ["another path", { readinessProbe: { httpGet: { path: "/health" } } }, "asks /health, and not"],
  ["a port alone", { readinessProbe: { tcpSocket: { port: 80 } } }, "asks no path"],
])("readiness: %s", async (_, container, message) => {
  pod(container, { terminationGracePeriodSeconds: 45 });
  const answer = await checked();
  expect(of(answer)).toContain("warning kubernetes-readiness front (http)");
  expect(one(answer, "kubernetes-readiness").message).toContain(message);
});

const hook = (seconds: number): object => ({
  readinessProbe: PROBE,
  lifecycle: { preStop: { sleep: { seconds } } },
});

it.each<[string, object, number, string, string]>([
  ["5 s", { readinessProbe: PROBE }, 5, "failure", "nothing is left for requests in progress"],
  ["15 s", { readinessProbe: PROBE }, 15, "warning", "9s are left"],
  ["30 s", { readinessProbe: PROBE }, 30, "ok", "waits 6s"],
  [
    "30 s and a hook of 20 s",
    hook(20),
    30,
    "warning",
    "a preStop hook takes 20s and a drain waits 6s",
  ],
  ["60 s and a hook", hook(5), 60, "warning", "a preStop hook delays SIGTERM"],
])("grace period: %s", async (_, container, seconds, status, message) => {
  pod(container, { terminationGracePeriodSeconds: seconds });
  const answer = await checked();
  expect(one(answer, "kubernetes-grace")).toMatchObject({ status });
  expect(one(answer, "kubernetes-grace").message).toContain(message);
});
