/** What one endpoint and one call in flight keep alive, in a fresh process. argv: kind and count. */
import { createMesh } from "@inmesh/core";
import { Call } from "@inmesh/core/spi";
import { StubRequest, stubProtocol } from "@inmesh/core/testing";
import { settledHeap } from "../child.ts";
import { busyCluster } from "./cluster.ts";

/** Whatever is measured stays reachable here. */
const kept: unknown[] = [];

/** Infos of discovery, keys and counters included; nothing in flight, no connection used. */
async function endpoints(count: number): Promise<number> {
  kept.push(await busyCluster(10, false));
  const before = settledHeap();
  const busy = await busyCluster(count, false);
  kept.push(busy);
  if (busy.backend.cluster.endpoints.size !== count) throw new Error("endpoints are missing");
  return (settledHeap() - before) / count;
}

/** Calls whose server never answers: call, attempt, deadline, promises of all layers, the stub's own. */
async function calls(count: number): Promise<number> {
  let served = 0;
  const mesh = createMesh({
    env: {},
    config: {
      defaults: { limits: { maxInFlight: 2 * count } },
      services: { orders: { discovery: { static: ["10.0.0.1:80", "10.0.0.2:80"] } } },
    },
  });
  const service = mesh.service(
    "orders",
    stubProtocol(() => void served++),
  );
  const request = new StubRequest("/orders/1");
  const call = (): void => {
    const reply = service.current(new Call("orders", request, true, true));
    reply.catch(() => {});
    kept.push(reply);
  };
  for (let i = 0; i < 1_000; i++) call();
  kept.length = 0;
  await new Promise((resolve) => void setImmediate(resolve));
  const before = settledHeap();
  for (let i = 0; i < count; i++) call();
  const bytes = (settledHeap() - before) / count;
  if (served !== count + 1_000) throw new Error(`${served} calls arrived`);
  await mesh.close(0);
  const [after] = mesh.snapshot().services;
  if (after?.callsInFlight !== 0) throw new Error("calls are left after close");
  return bytes;
}

const [kind, count = "1000"] = process.argv.slice(2);
const bytes = kind === "calls" ? await calls(Number(count)) : await endpoints(Number(count));
process.stdout.write(JSON.stringify(bytes), () => process.exit());
