/**
 * The same client against a real kube-apiserver with etcd, where `INMESH_KUBE_BIN` names the folder that holds both
 * (CONTRIBUTING.md says how they are built). The fake API server of the other tests claims to behave like it.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { benchFor, Heard } from "./support/watched.ts";

const bin = process.env["INMESH_KUBE_BIN"] ?? "";
const isThere =
  bin !== "" && existsSync(join(bin, "kube-apiserver")) && existsSync(join(bin, "etcd"));

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe.skipIf(!isThere)("a real API server, of INMESH_KUBE_BIN", () => {
  const folder = mkdtempSync(join(tmpdir(), "inmesh-kube-"));
  const children: ChildProcess[] = [];
  let port: number;
  let startApi: () => ChildProcess;

  function ask(
    method: string,
    path: string,
    body?: object,
  ): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: "127.0.0.1",
          port,
          path,
          method,
          rejectUnauthorized: false,
          headers: { authorization: "Bearer admin", "content-type": "application/json" },
        },
        (reply) => {
          let text = "";
          reply.on("data", (chunk: Buffer) => (text += chunk.toString()));
          reply.on("end", () => resolve({ status: reply.statusCode ?? 0, text }));
        },
      );
      sent.on("error", reject);
      sent.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  async function ready(): Promise<void> {
    const end = performance.now() + 150_000;
    while ((await ask("GET", "/readyz").catch(() => ({ status: 0 }))).status !== 200) {
      if (performance.now() > end) throw new Error("the API server has not become ready");
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  const SLICES = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
  const slice = (
    name: string,
    hosts: readonly number[],
    conditions: object = { ready: true },
  ): object => ({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { name, labels: { "kubernetes.io/service-name": "orders" } },
    addressType: "IPv4",
    ports: [{ name: "http", port: 80, protocol: "TCP" }],
    endpoints: hosts.map((host) => ({ addresses: [`10.0.0.${host}`], conditions })),
  });
  const make = async (name: string, ...hosts: number[]): Promise<void> => {
    const { status, text } = await ask("POST", SLICES, slice(name, hosts));
    expect(status, text).toBe(201);
  };
  const shop = (...hosts: number[]): string => hosts.map((host) => `10.0.0.${host}:80`).join(" ");
  const configFor = (token: string): string => {
    const path = join(folder, `config-${token}`);
    const config = {
      "current-context": "test",
      contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
      clusters: [
        {
          name: "test",
          cluster: {
            server: `https://127.0.0.1:${port}`,
            "certificate-authority": "apiserver.crt",
          },
        },
      ],
      users: [{ name: "test", user: { token } }],
    };
    writeFileSync(path, JSON.stringify(config));
    return path;
  };

  beforeAll(async () => {
    const [clientPort, peerPort] = [await freePort(), await freePort()];
    port = await freePort();
    const etcdUrl = `http://127.0.0.1:${clientPort}`;
    const peerUrl = `http://127.0.0.1:${peerPort}`;
    children.push(
      spawn(
        join(bin, "etcd"),
        [
          `--data-dir=${join(folder, "etcd")}`,
          `--listen-client-urls=${etcdUrl}`,
          `--advertise-client-urls=${etcdUrl}`,
          `--listen-peer-urls=${peerUrl}`,
          `--initial-advertise-peer-urls=${peerUrl}`,
          `--initial-cluster=default=${peerUrl}`,
          "--unsafe-no-fsync",
        ],
        { stdio: "ignore" },
      ),
    );
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const key = join(folder, "sa.key");
    writeFileSync(key, privateKey.export({ type: "pkcs1", format: "pem" }));
    const tokens = join(folder, "tokens.csv");
    writeFileSync(
      tokens,
      'admin,admin,1,"system:masters"\nmesh,system:serviceaccount:web:front,2\n',
    );
    startApi = () => {
      const child = spawn(
        join(bin, "kube-apiserver"),
        [
          `--etcd-servers=${etcdUrl}`,
          `--secure-port=${port}`,
          "--bind-address=127.0.0.1",
          "--advertise-address=127.0.0.1",
          `--cert-dir=${folder}`,
          `--token-auth-file=${tokens}`,
          "--authorization-mode=RBAC",
          "--service-account-issuer=https://kubernetes.default.svc",
          `--service-account-signing-key-file=${key}`,
          `--service-account-key-file=${key}`,
          "--service-cluster-ip-range=10.96.0.0/24",
          "--disable-admission-plugins=ServiceAccount",
        ],
        { stdio: "ignore" },
      );
      children.push(child);
      return child;
    };
    startApi();
    await ready();
    await ask("POST", "/api/v1/namespaces", { metadata: { name: "shop" } });
  }, 180_000);

  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL");
    await new Promise((resolve) => setTimeout(resolve, 500));
    rmSync(folder, { recursive: true, force: true });
  });

  it("D4 CO: list, watch, changes, a killed API server and its return", async () => {
    const heard = new Heard();
    const bench = benchFor(configFor("admin"));
    await make("orders-a", 1, 2);
    bench.watch("shop/orders:http", heard);
    const becomes = (text: string, timeout = 20_000): Promise<void> =>
      expect.poll(() => heard.addresses, { timeout }).toBe(text);
    await becomes(shop(1, 2));
    await make("orders-b", 3);
    await becomes(shop(1, 2, 3));
    const going = { ready: false, serving: true, terminating: true };
    await ask("PUT", `${SLICES}/orders-b`, slice("orders-b", [3], going));
    await becomes(`-10.0.0.3:80 ${shop(1, 2)}`);
    await ask("DELETE", `${SLICES}/orders-b`);
    await becomes(shop(1, 2));
    expect(heard.errors).toEqual([]);
    children.at(-1)!.kill("SIGKILL");
    await expect.poll(() => heard.errors.length, { timeout: 20_000 }).toBeGreaterThan(0);
    expect(heard.addresses).toBe(shop(1, 2));
    startApi();
    await ready();
    await ask("DELETE", `${SLICES}/orders-a`);
    await make("orders-c", 4);
    await becomes(shop(4));
    expect(heard.sizes.filter((size) => size === 0).length).toBeLessThanOrEqual(1);
    bench.stop();
    await ask("DELETE", `${SLICES}/orders-c`);
  }, 180_000);

  it("D12 CO: what RBAC refuses is allowed by the commands of the error, as they stand", async () => {
    const heard = new Heard();
    const bench = benchFor(configFor("mesh"));
    await make("orders-a", 1);
    bench.watch("shop/orders:http", heard);
    await expect.poll(() => heard.errors.length, { timeout: 20_000 }).toBeGreaterThan(0);
    const [, commands = ""] = /Allow it: (.*)$/.exec(heard.errors[0]!.message) ?? [];
    expect(commands).toContain("--serviceaccount=web:front");
    for (const command of commands.split("; ")) {
      const [program = "", ...args] = command.split(" ");
      execFileSync(program, [`--kubeconfig=${configFor("admin")}`, ...args]);
    }
    await expect.poll(() => heard.addresses, { timeout: 20_000 }).toBe(shop(1));
    expect(readFileSync(configFor("mesh"), "utf8")).toContain('"mesh"');
    bench.stop();
    await ask("DELETE", `${SLICES}/orders-a`);
  }, 60_000);

  it("D5 CO: 300 slices come as one set, by a streaming list of the real server", async () => {
    const hosts = Array.from({ length: 300 }, (_, i) => i);
    for (const i of hosts) {
      const object = slice(`many-${i}`, []) as { endpoints: object[] };
      object.endpoints = [
        { addresses: [`10.1.${i >> 8}.${i & 255}`], conditions: { ready: true } },
      ];
      expect((await ask("POST", SLICES, object)).status).toBe(201);
    }
    const heard = new Heard();
    const bench = benchFor(configFor("admin"));
    bench.watch("shop/orders:http", heard);
    await expect.poll(() => heard.set.size, { timeout: 20_000 }).toBe(300);
    expect(heard.sizes).toEqual([300]);
    bench.stop();
  }, 120_000);
});
