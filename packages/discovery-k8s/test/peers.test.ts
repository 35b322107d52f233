/**
 * The API server of these tests speaks the wire of a real one: clients that know nothing of it list and watch there.
 * Each is skipped where it is missing: `npm run peers:k8s -- --client-node`.
 */
import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, onTestFinished } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { FakeApi } from "./support/fake-api.ts";
import { clientNode, kubectl, type ClientNode } from "./support/peers.ts";
import { kubeconfigFor } from "./support/watched.ts";

let api: FakeApi;
let config: string;

beforeEach(async () => {
  // They send a token over TLS alone.
  const ca = new TestCa();
  api = new FakeApi(ca.issue({ names: ["127.0.0.1"] }));
  api.token = "token";
  config = kubeconfigFor(await api.listen(), "token", ca.cert);
  api.put({ name: "orders-a", service: "orders", endpoints: [{ address: "10.0.0.1" }] });
});

afterEach(() => api.close());

it.skipIf(kubectl === undefined)("kubectl get endpointslices -w", async () => {
  const watching = spawn(
    kubectl!,
    [`--kubeconfig=${config}`, "get", "endpointslices", "-n", "shop", "-w", "-o", "json"],
    // It keeps what it learns of a server in the home folder.
    { env: { ...process.env, HOME: mkdtempSync(join(tmpdir(), "inmesh-kubectl-")) } },
  );
  onTestFinished(() => void watching.kill("SIGKILL"));
  let out = "";
  watching.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  const seen = (): string[] =>
    [...out.matchAll(/"(?:10\.0\.0\.\d+)"|"name": "(orders-\w)"/g)].map(([text]) => text);
  await expect.poll(seen).toContain('"10.0.0.1"');
  await expect.poll(() => api.watching).toBe(1);
  api.put({ name: "orders-b", service: "orders", endpoints: [{ address: "10.0.0.2" }] });
  await expect.poll(seen).toContain('"10.0.0.2"');
  api.put({ name: "orders-b", service: "orders", endpoints: [{ address: "10.0.0.3" }] });
  await expect.poll(seen).toContain('"10.0.0.3"');
  const before = seen().length;
  api.delete("orders-b");
  await expect.poll(() => seen().length).toBeGreaterThan(before);
});

it.skipIf(clientNode === undefined)("the informer of @kubernetes/client-node", async () => {
  const { KubeConfig, DiscoveryV1Api, makeInformer } = (await import(
    clientNode!.href
  )) as ClientNode;
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromFile(config);
  const slices = kubeConfig.makeApiClient(DiscoveryV1Api);
  const path = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
  const informer = makeInformer(kubeConfig, path, () =>
    slices.listNamespacedEndpointSlice({ namespace: "shop" }),
  );
  const heard: string[] = [];
  for (const event of ["add", "update", "delete"]) {
    informer.on(event, ({ metadata }) => void heard.push(`${event} ${metadata?.name}`));
  }
  informer.on("error", () => {});
  await informer.start();
  onTestFinished(() => informer.stop());
  await expect.poll(() => heard).toEqual(["add orders-a"]);
  await expect.poll(() => api.watching).toBe(1);
  api.put({ name: "orders-b", service: "orders", endpoints: [{ address: "10.0.0.2" }] });
  api.put({ name: "orders-a", service: "orders", endpoints: [{ address: "10.0.0.3" }] });
  api.delete("orders-b");
  await expect
    .poll(() => heard)
    .toEqual(["add orders-a", "add orders-b", "update orders-a", "delete orders-b"]);
});
