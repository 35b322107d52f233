/**
 * A control plane, the manifests of examples/04-kubernetes, a program that plays the kubelet, and one rollout after the
 * other by kubectl. Runs in a network namespace (benchmarks/rollout/really.ts).
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { ControlPlane, kubeBin } from "../../packages/discovery-k8s/test/support/control-plane.ts";
import { Kubelet } from "../rollout/kubelet.ts";
import { underLoad } from "../rollout/load.ts";
import { Record } from "../rollout/pod.ts";
import type { Rollout } from "../rollout/quick.ts";
import type { ClusterResult } from "../rollout/really.ts";

const MANIFESTS = new URL("../../examples/04-kubernetes/manifests/", import.meta.url).pathname;
const TOKEN_SECONDS = 7_200;

const { rounds, replicas, perSecond } = JSON.parse(process.argv[2]!) as Omit<Rollout, "progress">;
const say = (line: string): void => void process.stderr.write(`${line}\n`);
const bin = kubeBin("kube-controller-manager");
if (bin === undefined) throw new Error("INMESH_KUBE_BIN has no control plane");
const cluster = new ControlPlane(bin);
const record = new Record();
const kubelet = new Kubelet(cluster, "shop", record);
const kubectl = (...args: string[]): Promise<string> => cluster.kubectl(...args);

interface Manifest {
  readonly kind: string;
  readonly spec: {
    replicas?: number;
    readonly ports?: object[];
    readonly template?: { readonly spec: { readonly containers: { readonly ports: object[] }[] } };
  };
}

/** As the example says, and a port of gRPC beside that of HTTP. */
async function deploy(): Promise<void> {
  for (const name of ["00-namespaces", "10-rbac"]) {
    await kubectl("apply", "-f", `${MANIFESTS}${name}.yaml`);
  }
  const file = `${MANIFESTS}20-orders.yaml`;
  const text = await kubectl("apply", "--dry-run=client", "-o", "json", "-f", file);
  const list = JSON.parse(text) as { readonly items: readonly Manifest[] };
  for (const { kind, spec } of list.items) {
    if (kind === "Service") spec.ports!.push({ name: "grpc", port: 9090, targetPort: "grpc" });
    if (kind !== "Deployment") continue;
    spec.replicas = replicas;
    spec.template!.spec.containers[0]!.ports.push({ name: "grpc", containerPort: 9091 });
  }
  const changed = join(cluster.folder, "orders.json");
  writeFileSync(changed, JSON.stringify(list));
  await kubectl("apply", "-f", changed);
  await kubectl("rollout", "status", "deployment/orders", "-n", "shop", "--timeout=120s");
}

/** A token of the account, as the kubelet would mount it. */
async function tokenOfFront(): Promise<string> {
  const path = "/api/v1/namespaces/web/serviceaccounts/front/token";
  const { status, text } = await cluster.ask("POST", path, {
    spec: { expirationSeconds: TOKEN_SECONDS },
  });
  if (status !== 201) throw new Error(`no token: ${status} ${text}`);
  return (JSON.parse(text) as { status: { token: string } }).status.token;
}

async function until(condition: () => boolean, withinMs: number): Promise<void> {
  const end = performance.now() + withinMs;
  while (!condition() && performance.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

try {
  say("rollout: starting the control plane");
  await cluster.start();
  cluster.startControllers();
  await kubelet.start();
  await deploy();
  say(`rollout: ${kubelet.running} pods are ready`);
  const token = await tokenOfFront();
  const account = { token, ca: cluster.ca, namespace: "web", apiPort: cluster.port };
  const run = await underLoad(account, perSecond, async () => {
    for (let round = 1; round <= rounds; round++) {
      // The annotation that it writes has whole seconds.
      await kubectl("rollout", "restart", "deployment/orders", "-n", "shop");
      await kubectl("rollout", "status", "deployment/orders", "-n", "shop", "--timeout=180s");
      say(`rollout: round ${round} of ${rounds}, ${record.started} pods`);
    }
    await until(() => kubelet.running <= replicas, 60_000);
  });
  const { started, killed, crashed, slowestEndMs } = record;
  const result: ClusterResult = {
    run,
    record: { started, killed, crashed, slowestEndMs },
    duplicates: [...record.seen].flatMap(([id, times]) => (times > 1 ? [id] : [])),
  };
  await new Promise<void>((resolve) => process.send!(result, () => resolve()));
} finally {
  kubelet.stop();
  await cluster.stop();
}
process.exit(0);
