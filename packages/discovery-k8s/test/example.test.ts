/** examples/04-kubernetes: what the guide shows is what is in the files, and Kubernetes takes them. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { parseAllDocuments } from "yaml";
import { ControlPlane, kubeBin } from "./support/control-plane.ts";
import { FakeApi } from "./support/fake-api.ts";
import { kubectl } from "./support/peers.ts";
import { kubeconfigFor } from "./support/watched.ts";

const ROOT = join(import.meta.dirname, "../../..");
const EXAMPLE = join(ROOT, "examples/04-kubernetes");
const MANIFESTS = join(EXAMPLE, "manifests");
const OBJECTS = 11;

interface Container {
  readonly ports: readonly { readonly name: string }[];
  readonly command: readonly string[];
  readonly readinessProbe: { readonly httpGet: { readonly path: string; readonly port: string } };
  readonly lifecycle?: unknown;
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: {
    readonly template?: {
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly serviceAccountName?: string;
        readonly containers: readonly Container[];
      };
    };
  };
  readonly subjects?: readonly { readonly name: string; readonly namespace: string }[];
}

const all: readonly Manifest[] = readdirSync(MANIFESTS).flatMap((name) =>
  parseAllDocuments(readFileSync(join(MANIFESTS, name), "utf8")).map(
    (one) => one.toJS() as Manifest,
  ),
);

it("the guide shows the files as they are", () => {
  const guide = readFileSync(join(ROOT, "docs/guides/kubernetes.md"), "utf8");
  for (const name of ["Dockerfile", "manifests/20-orders.yaml", "manifests/10-rbac.yaml"]) {
    expect(guide).toContain(`\n${readFileSync(join(EXAMPLE, name), "utf8")}\`\`\``);
  }
});

it("the manifests fit each other, and say what the guide recommends", () => {
  expect(all).toHaveLength(OBJECTS);
  const files = readdirSync(EXAMPLE);
  for (const { spec } of all.filter(({ kind }) => kind === "Deployment")) {
    const { containers, terminationGracePeriodSeconds } = spec!.template!.spec;
    expect(terminationGracePeriodSeconds).toBeGreaterThan(30);
    for (const { command, ports, readinessProbe, lifecycle } of containers) {
      expect(files).toContain(command[1]);
      expect(readinessProbe.httpGet.path).toBe("/readyz");
      expect(ports.map(({ name }) => name)).toContain(readinessProbe.httpGet.port);
      expect(lifecycle).toBeUndefined();
    }
  }
  const accounts = all.filter(({ kind }) => kind === "ServiceAccount");
  for (const { subjects = [] } of all.filter(({ kind }) => kind === "RoleBinding")) {
    for (const { name, namespace } of subjects) {
      expect(accounts.map(({ metadata }) => metadata)).toContainEqual({ name, namespace });
    }
  }
});

it.skipIf(kubectl === undefined)("kubectl --dry-run=client takes every file", async () => {
  const api = new FakeApi();
  const config = kubeconfigFor(await api.listen(), "token");
  onTestFinished(() => api.close());
  const args = ["apply", "--dry-run=client", "--validate=false", "-o", "name", "-f", MANIFESTS];
  const env = { ...process.env, HOME: mkdtempSync(join(tmpdir(), "inmesh-kubectl-")) };
  const run = promisify(execFile);
  const { stdout } = await run(kubectl!, [`--kubeconfig=${config}`, ...args], { env });
  expect(stdout.trim().split("\n")).toHaveLength(OBJECTS);
});

it("the check of the guide asks `front` as the guide has it", async () => {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-front-"));
  const flags = ["--no-warnings", "--conditions=inmesh-source"];
  const server = createServer((_, response) => response.end("orders"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const front = spawn(process.execPath, [...flags, join(EXAMPLE, "front.ts")], {
    env: {
      PATH: process.env["PATH"],
      INMESH_REGISTRY: "off",
      ADMIN_FOLDER: folder,
      PORT: "0",
      HOST: "127.0.0.1",
      ORDERS_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => {
    front.kill("SIGKILL");
    server.close();
    rmSync(folder, { recursive: true });
  });
  let text = "";
  front.stdout.on("data", (chunk: Buffer) => (text += chunk.toString()));
  await expect.poll(() => text, { timeout: 30_000 }).toContain("front listens on");
  const guide = readFileSync(join(ROOT, "docs/guides/kubernetes.md"), "utf8");
  const [, command = ""] = /npx inmesh (check [^`]*?)\n```/.exec(guide) ?? [];
  const program = join(ROOT, "packages/inmesh/src/cli/run.ts");
  const args = command.replaceAll("/tmp/", `${folder}/`).split(" ");
  // A call, without which `orders` has no endpoints yet.
  const [, port] = /front listens on (\d+)/.exec(text)!;
  expect(await (await fetch(`http://127.0.0.1:${port}/42`)).text()).toBe("orders");
  const env = { PATH: process.env["PATH"], INMESH_REGISTRY: "off" };
  const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, ...args], {
    env,
  });
  expect(stdout).toMatch(/^Status: 0 failed/m);
}, 60_000);

const bin = kubeBin("kube-controller-manager");

describe.skipIf(bin === undefined)("on the control plane of INMESH_KUBE_BIN", () => {
  const cluster = new ControlPlane(bin!);
  beforeAll(() => cluster.start(["front,system:serviceaccount:web:front,2"]), 180_000);
  afterAll(() => cluster.stop());

  it("they are applied, make pods, and give `front` what it needs and no more", async () => {
    cluster.startControllers();
    await cluster.kubectl("apply", "-f", MANIFESTS);
    const pods = async (): Promise<number> =>
      (await cluster.kubectl("get", "pods", "-A", "-o", "name")).trim().split("\n").length;
    await expect.poll(pods, { timeout: 60_000 }).toBe(5);
    const may = async (...what: string[]): Promise<string> => {
      const as = "--as=system:serviceaccount:web:front";
      // It fails with the answer no.
      const asked = cluster.kubectl("auth", "can-i", as, ...what);
      return (await asked.catch(({ stdout }: { stdout: string }) => stdout)).trim();
    };
    const slices = "endpointslices.discovery.k8s.io";
    expect(await may("list", slices, "-n", "shop")).toBe("yes");
    expect(await may("watch", slices, "-n", "shop")).toBe("yes");
    expect(await may("get", "services", "-n", "shop")).toBe("yes");
    expect(await may("get", "pods", "-n", "web")).toBe("yes");
    expect(await may("list", slices, "-n", "web")).toBe("no");
    expect(await may("get", "secrets", "-n", "shop")).toBe("no");
    expect(await may("list", "services", "-n", "shop")).toBe("no");
  }, 120_000);
});
