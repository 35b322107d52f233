/**
 * The rollout on the API server of the tests, for machines without a control plane: what the controllers of
 * Deployments and EndpointSlices do is played by a loop, with `maxSurge: 1` and `maxUnavailable: 0`.
 */
import { FakeApi } from "../../packages/discovery-k8s/test/support/fake-api.ts";
import { TestCa } from "../../packages/http/test/support/ca.ts";
import type { RolloutRun } from "../child/rollout-client.ts";
import { underLoad } from "./load.ts";
import { Pod, type Record } from "./pod.ts";
import { freePort } from "../../scripts/free-port.ts";

export interface Rollout {
  readonly rounds: number;
  readonly replicas: number;
  readonly perSecond: number;
  readonly progress: (line: string) => void;
}

const GRACE_MS = 45_000;
const PROBE = { path: "/readyz", periodMs: 500, failureThreshold: 1 };

export async function rollQuickly(
  { rounds, replicas, perSecond, progress }: Rollout,
  record: Record,
): Promise<RolloutRun> {
  const ca = new TestCa();
  const api = new FakeApi(ca.issue({ names: ["127.0.0.1"] }));
  api.token = "token-of-front";
  const apiPort = await api.listen();
  const ports = { http: await freePort(), grpc: await freePort() };
  api.objects.set("/api/v1/namespaces/shop/services/orders", {
    spec: {
      clusterIP: "10.96.0.10",
      ports: [
        { name: "http", port: 80 },
        { name: "grpc", port: 9090 },
      ],
    },
  });
  const pods = new Set<Pod>();
  const publish = (): void =>
    api.put({
      name: "orders-abcde",
      service: "orders",
      ports: [
        { name: "http", port: ports.http, appProtocol: "http" },
        { name: "grpc", port: ports.grpc },
      ],
      endpoints: [...pods].map(({ options, isReady, isTerminating }) => ({
        address: options.address,
        uid: options.uid,
        ready: isReady && !isTerminating,
        serving: isReady,
        terminating: isTerminating,
      })),
    });
  let made = 0;
  const start = async (): Promise<void> => {
    const number = ++made;
    const address = `127.0.${1 + (number >> 7)}.${1 + (number & 127)}`;
    const name = `orders-${number}`;
    await new Promise<void>((resolve) => {
      const options = { name, uid: name, address, ports, probe: PROBE, graceMs: GRACE_MS };
      const pod = new Pod(options, record, () => {
        if (pods.has(pod)) publish();
        if (pod.isReady) resolve();
      });
      pods.add(pod);
      pod.start();
    });
  };
  const ends: Promise<void>[] = [];
  const end = (pod: Pod): void => {
    const ended = pod.terminate().then(() => {
      pods.delete(pod);
      publish();
    });
    publish();
    ends.push(ended);
  };
  try {
    publish();
    await Promise.all(Array.from({ length: replicas }, start));
    const account = { token: api.token, ca: ca.cert, namespace: "web", apiPort };
    return await underLoad(account, perSecond, async () => {
      for (let round = 1; round <= rounds; round++) {
        const old = [...pods].filter(({ isTerminating }) => !isTerminating);
        for (const pod of old) {
          await start();
          end(pod);
        }
        progress(`rollout: round ${round} of ${rounds}`);
      }
      await Promise.all(ends);
    });
  } finally {
    for (const pod of pods) pod.stop();
    await api.close();
  }
}
