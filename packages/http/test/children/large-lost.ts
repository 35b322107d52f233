/** C20: packets above 600 bytes are lost, first on the way there, then on the way back; prints the calls' ends. */
import { createMesh } from "@inmesh/core";
import { MeshError } from "@inmesh/core/spi";
import { meshClient } from "../../src/index.ts";
import { OtherHost } from "./other-host.ts";

const host = await OtherHost.start();
const config = {
  services: {
    svc: {
      discovery: { static: [host.address] },
      timeouts: { requestMs: 5_000, backendRequestMs: 500, bodyIdleMs: 700 },
      retry: { attempts: 1 },
    },
  },
};
const LARGE = Buffer.alloc(100_000);

async function calls(): Promise<Record<string, unknown>> {
  // A mesh of its own, so that no connection remembers the other direction.
  const mesh = createMesh({ env: {}, config });
  const client = meshClient("svc", { mesh });
  const call = async (path: string, body: Buffer | null = null): Promise<unknown> => {
    const startedAt = performance.now();
    try {
      const reply = await client.fetch(path, { method: body === null ? "GET" : "POST", body });
      return (await reply.text()).length > 10 ? "whole" : "short";
    } catch (error) {
      if (!(error instanceof MeshError)) throw error;
      const tookMs = Math.round(performance.now() - startedAt);
      return { reason: error.reason, progress: error.progress, tookMs };
    }
  };
  const charges = (): number => {
    let sum = 0;
    for (const series of mesh.metrics()) {
      if (series.name !== "inmesh.attempts" || series.labels["outcome"] !== "timeout") continue;
      sum += "value" in series ? Number(series.value) : 0;
    }
    return sum;
  };
  const small = await call("/");
  const up = await call("/", LARGE);
  const down = await call("/large");
  const smallAgain = await call("/");
  // A timeout that this process notices late is not charged (B5), and a busy machine makes it late.
  const tries = up === "short" && down === "whole" ? 0 : 5;
  for (let i = 0; i < tries && charges() === 0; i++) {
    await (up === "short" ? call("/large") : call("/", LARGE));
  }
  const charged = charges() > 0;
  const { endpoints, callsInFlight } = mesh.snapshot().services[0]!;
  const inFlight = callsInFlight + endpoints[0]!.inFlight;
  await mesh.close(0);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const kinds = process.getActiveResourcesInfo();
  const sockets = kinds.filter((kind) => kind === "TCPSocketWrap").length;
  return { small, up, down, smallAgain, charged, inFlight, sockets };
}

const healthy = await calls();
host.loseLarge("there", 600);
const lostThere = await calls();
host.loseNothing();
host.loseLarge("here", 600);
const lostHere = await calls();
await host.stop();
process.stdout.write(JSON.stringify({ healthy, lostThere, lostHere }));
