/**
 * The rollout on a real control plane, in a network namespace of its own: the API server takes no slices with loopback
 * addresses, so the addresses of pods are made local there.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { kubernetesFolder } from "../../scripts/peers-folder.ts";
import type { RolloutRun } from "../child/rollout-client.ts";
import { FLAGS } from "../fleet.ts";
import type { Record } from "./pod.ts";
import type { Rollout } from "./quick.ts";

export interface ClusterResult {
  readonly run: RolloutRun;
  readonly record: Pick<Record, "started" | "killed" | "crashed" | "slowestEndMs">;
  readonly duplicates: readonly string[];
}

const CLUSTER: string = fileURLToPath(new URL("../child/rollout-cluster.ts", import.meta.url));
const PODS = "10.244.0.0/16";

export async function rollReally(rollout: Rollout, record: Record): Promise<RolloutRun> {
  const bin = process.env["INMESH_KUBE_BIN"] ?? join(kubernetesFolder, "bin");
  if (!existsSync(join(bin, "kube-controller-manager"))) {
    throw new Error(`there is no control plane in ${bin}: npm run peers:k8s builds one`);
  }
  const { progress, ...load } = rollout;
  const script = `ip link set lo up && ip route add local ${PODS} dev lo && exec "$0" "$@"`;
  // With a namespace of processes too, nothing of it is left whatever becomes of this program.
  const way = ["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"];
  const args = [
    ...way,
    "sh",
    "-c",
    script,
    process.execPath,
    ...FLAGS,
    CLUSTER,
    JSON.stringify(load),
  ];
  const child = spawn("unshare", args, {
    env: { ...process.env, INMESH_KUBE_BIN: bin },
    stdio: ["ignore", "inherit", "pipe", "ipc"],
  });
  child.stderr!.setEncoding("utf8");
  child.stderr!.on("data", (text: string) => {
    for (const line of text.split("\n")) if (line !== "") progress(line);
  });
  const result = await new Promise<ClusterResult>((resolve, reject) => {
    child.once("message", (message) => resolve(message as ClusterResult));
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`the control plane's program ended (${code})`)));
  });
  Object.assign(record, result.record);
  for (const id of result.duplicates) record.seen.set(id, 2);
  return result.run;
}
