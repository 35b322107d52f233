/** The client of the rollout as a process in a pod, where the machine lets it be one. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import {
  accountFolder,
  canBePod,
  inPod,
  type ServiceAccount,
} from "../../packages/discovery-k8s/test/support/pod.ts";
import type { RolloutLoad, RolloutRun } from "../child/rollout-client.ts";
import { FLAGS } from "../fleet.ts";

const CLIENT: string = fileURLToPath(new URL("../child/rollout-client.ts", import.meta.url));

/** Calls `roll` while the load runs. */
export async function underLoad(
  account: ServiceAccount,
  perSecond: number,
  roll: () => Promise<void>,
): Promise<RolloutRun> {
  const load: RolloutLoad = { perSecond, account: canBePod ? undefined : accountFolder(account) };
  const args = [...FLAGS, CLIENT, JSON.stringify(load)];
  const command = canBePod
    ? inPod(args, account)
    : {
        file: process.execPath,
        args,
        env: {
          ...process.env,
          KUBERNETES_SERVICE_HOST: "127.0.0.1",
          KUBERNETES_SERVICE_PORT: String(account.apiPort),
        },
      };
  const client = spawn(command.file, command.args, {
    env: command.env,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  try {
    const died = once(client, "exit").then(() => {
      throw new Error("the client has ended too early");
    });
    died.catch(() => {});
    await Promise.race([once(client, "message"), died]);
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    await Promise.race([roll(), died]);
    const ended = once(client, "message");
    client.send("stop");
    const [run] = (await Promise.race([ended, died])) as [RolloutRun];
    return run;
  } finally {
    client.kill("SIGKILL");
  }
}
