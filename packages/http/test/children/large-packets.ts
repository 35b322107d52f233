/**
 * C20 for any protocol: packets above 600 bytes are lost, first on the way there, then on the way back;
 * prints the ends of the calls.
 */
import { createMesh, type Mesh, type ServiceInput } from "@inmesh/core";
import type { OtherHost } from "./other-host.ts";

/** Calls of a client, each with how it ended: `short` or `whole`, by what was replied, or a failure. */
export interface Calls {
  /** Little both ways. */
  small(): Promise<unknown>;
  /** A large request. */
  up(): Promise<unknown>;
  /** A large reply. */
  down(): Promise<unknown>;
}

export async function playLargePackets(
  host: OtherHost,
  svc: ServiceInput,
  callsOf: (mesh: Mesh) => Calls,
): Promise<void> {
  const discovery = { static: [host.address] };
  const services = { svc: { ...svc, discovery } };
  // A mesh of its own each time, so that no connection remembers the other direction.
  const play = (): Promise<object> => {
    const mesh = createMesh({ env: {}, config: { services } });
    return endsOf(mesh, callsOf(mesh));
  };
  const healthy = await play();
  host.loseLarge("there", 600);
  const lostThere = await play();
  host.loseNothing();
  host.loseLarge("here", 600);
  const lostHere = await play();
  await host.stop();
  process.stdout.write(JSON.stringify({ healthy, lostThere, lostHere }));
}

async function endsOf(mesh: Mesh, calls: Calls): Promise<object> {
  const small = await calls.small();
  const up = await calls.up();
  const down = await calls.down();
  // The large ones that are lost must not stand in its way for ever.
  const smallAgain = await calls.small();
  // A timeout that this process notices late is not charged (B5), and a busy machine makes it late.
  const tries = up === "short" && down === "whole" ? 0 : 5;
  for (let i = 0; i < tries && timeouts(mesh) === 0; i++) {
    await (up === "short" ? calls.down() : calls.up());
  }
  const charged = timeouts(mesh) > 0;
  const { endpoints, callsInFlight } = mesh.snapshot().services[0]!;
  const inFlight = callsInFlight + endpoints[0]!.inFlight;
  await mesh.close(0);
  await new Promise((resolve) => setTimeout(resolve, 300));
  const kinds = process.getActiveResourcesInfo();
  const sockets = kinds.filter((kind) => kind === "TCPSocketWrap").length;
  return { small, up, down, smallAgain, charged, inFlight, sockets };
}

function timeouts(mesh: Mesh): number {
  let sum = 0;
  for (const series of mesh.metrics()) {
    if (series.name !== "inmesh.attempts" || series.labels["outcome"] !== "timeout") continue;
    sum += "value" in series ? Number(series.value) : 0;
  }
  return sum;
}
