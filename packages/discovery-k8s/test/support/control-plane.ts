/**
 * A real control plane: etcd, kube-apiserver and, where it is asked for, the controllers that make ReplicaSets, Pods
 * and EndpointSlices, from the folder that `npm run peers:k8s` has built (INMESH_KUBE_BIN).
 */
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { request, type RequestOptions } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../../../../scripts/free-port.ts";

const CONTROLLERS = "deployment-controller,replicaset-controller,endpointslice-controller";
/** It makes its certificate and fills an empty etcd, on a machine that may be busy. */
const READY_WITHIN_MS = 150_000;

export interface Reply {
  readonly status: number;
  readonly text: string;
}

/** The folder with these programs; undefined where one is missing. */
export function kubeBin(...programs: readonly string[]): string | undefined {
  const bin = process.env["INMESH_KUBE_BIN"] ?? "";
  if (bin === "") return undefined;
  const all = ["etcd", "kube-apiserver", ...programs];
  return all.every((name) => existsSync(join(bin, name))) ? bin : undefined;
}

export class ControlPlane {
  readonly folder: string = mkdtempSync(join(tmpdir(), "inmesh-kube-"));
  readonly #bin: string;
  readonly #children: ChildProcess[] = [];
  #port = 0;
  #etcdUrl = "";
  #api: ChildProcess | undefined;

  constructor(bin: string) {
    this.#bin = bin;
  }

  /** Of the API server. */
  get port(): number {
    return this.#port;
  }

  /** Of the API server's certificate, which it has signed itself. */
  get ca(): string {
    return readFileSync(join(this.folder, "apiserver.crt"), "utf8");
  }

  /** `admin` is the token of one who may do everything; `tokens` are lines beside it. */
  async start(tokens: readonly string[] = []): Promise<void> {
    const [clientPort, peerPort] = [await freePort(), await freePort()];
    this.#port = await freePort();
    this.#etcdUrl = `http://127.0.0.1:${clientPort}`;
    const peerUrl = `http://127.0.0.1:${peerPort}`;
    this.#spawn("etcd", [
      `--data-dir=${join(this.folder, "etcd")}`,
      `--listen-client-urls=${this.#etcdUrl}`,
      `--advertise-client-urls=${this.#etcdUrl}`,
      `--listen-peer-urls=${peerUrl}`,
      `--initial-advertise-peer-urls=${peerUrl}`,
      `--initial-cluster=default=${peerUrl}`,
      "--unsafe-no-fsync",
    ]);
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const key = privateKey.export({ type: "pkcs1", format: "pem" });
    writeFileSync(join(this.folder, "sa.key"), key, { mode: 0o600 });
    const lines = ['admin,admin,1,"system:masters"', ...tokens];
    writeFileSync(join(this.folder, "tokens.csv"), `${lines.join("\n")}\n`, { mode: 0o600 });
    await this.startApi();
  }

  /** Also after it was killed. */
  async startApi(): Promise<void> {
    const key = join(this.folder, "sa.key");
    this.#api = this.#spawn("kube-apiserver", [
      `--etcd-servers=${this.#etcdUrl}`,
      `--secure-port=${this.#port}`,
      "--bind-address=127.0.0.1",
      "--advertise-address=127.0.0.1",
      `--cert-dir=${this.folder}`,
      `--token-auth-file=${join(this.folder, "tokens.csv")}`,
      "--authorization-mode=RBAC",
      "--service-account-issuer=https://kubernetes.default.svc",
      `--service-account-signing-key-file=${key}`,
      `--service-account-key-file=${key}`,
      "--service-cluster-ip-range=10.96.0.0/24",
      "--disable-admission-plugins=ServiceAccount",
    ]);
    const end = performance.now() + READY_WITHIN_MS;
    while ((await this.ask("GET", "/readyz").catch(() => ({ status: 0 }))).status !== 200) {
      if (performance.now() > end) throw new Error("the API server has not become ready");
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  killApi(): void {
    this.#api?.kill("SIGKILL");
  }

  startControllers(): void {
    this.#spawn("kube-controller-manager", [
      `--kubeconfig=${this.kubeconfig("admin")}`,
      `--controllers=${CONTROLLERS}`,
      "--leader-elect=false",
      "--secure-port=0",
    ]);
  }

  /** The path of one for a token. */
  kubeconfig(token: string): string {
    const path = join(this.folder, `config-${token}`);
    const server = `https://127.0.0.1:${this.#port}`;
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
      clusters: [{ name: "test", cluster: { server, "certificate-authority": "apiserver.crt" } }],
      users: [{ name: "test", user: { token } }],
    };
    writeFileSync(path, JSON.stringify(config), { mode: 0o600 });
    return path;
  }

  /** As `admin`. */
  ask(method: string, path: string, body?: object, type = "application/json"): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const sent = request(this.requestTo(method, path, type), (reply) => {
        let text = "";
        reply.setEncoding("utf8");
        reply.on("data", (chunk: string) => (text += chunk));
        reply.on("end", () => resolve({ status: reply.statusCode ?? 0, text }));
        reply.on("error", reject);
      });
      sent.on("error", reject);
      if (body === undefined) return void sent.end();
      const bytes = Buffer.from(JSON.stringify(body));
      // Node does not say it of a DELETE by itself.
      sent.setHeader("content-length", bytes.length);
      sent.end(bytes);
    });
  }

  requestTo(method: string, path: string, type = "application/json"): RequestOptions {
    return {
      host: "127.0.0.1",
      port: this.#port,
      path,
      method,
      rejectUnauthorized: false,
      headers: { authorization: "Bearer admin", "content-type": type },
    };
  }

  /** As `admin`. Gives what it prints; rejects where it fails. */
  async kubectl(...args: readonly string[]): Promise<string> {
    const own = join(this.#bin, "kubectl");
    const all = [`--kubeconfig=${this.kubeconfig("admin")}`, ...args];
    const { stdout } = await promisify(execFile)(existsSync(own) ? own : "kubectl", all, {
      timeout: 200_000,
    });
    return stdout;
  }

  async stop(): Promise<void> {
    const all = this.#children.filter(
      ({ exitCode, signalCode }) => (exitCode ?? signalCode) === null,
    );
    await Promise.all(
      all.map(
        (child) =>
          new Promise<void>((resolve) => {
            child.once("exit", () => resolve());
            child.kill("SIGKILL");
          }),
      ),
    );
    rmSync(this.folder, { recursive: true, force: true });
  }

  #spawn(program: string, args: readonly string[]): ChildProcess {
    const log = openSync(join(this.folder, `${program}.log`), "a");
    const child = spawn(join(this.#bin, program), args, { stdio: ["ignore", log, log] });
    this.#children.push(child);
    return child;
  }
}
