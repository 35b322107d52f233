/** Our client against gRPC's Go server: each case on each way. */
import { CASES, ONE_SERVER } from "./cases/all.ts";
import { SEVERAL_CASES } from "./cases/several.ts";
import type { Case, Target } from "./cases/common.ts";
import { Suite, type Outcome } from "./outcomes.ts";
import type { Peers } from "./peers.ts";
import { startGoServer } from "./processes.ts";
import { testClient } from "./testing.ts";
import type { Way } from "./way.ts";

/** A case takes milliseconds; a busy machine must not fail it, a hang must. */
const CASE_TIMEOUT_MS = 30_000;

export async function clientSuite(
  peers: Peers,
  ways: readonly Way[],
  progress: (line: string) => void,
): Promise<Suite> {
  const suite = new Suite(
    "client",
    ways.map(({ name }) => name),
  );
  for (const way of ways) {
    progress(`our client, ${way.name}, against the Go server`);
    const servers = await Promise.all(
      Array.from({ length: way.servers }, () => startGoServer(peers.grpcServer)),
    );
    const { args, close } = way.open(servers.map(({ port }) => port));
    const target = { client: testClient(args()), args, way, servers };
    const several = way.servers > 1;
    for (const [name, one] of Object.entries(several ? { ...CASES, ...SEVERAL_CASES } : CASES)) {
      if (several && ONE_SERVER.has(name)) continue;
      suite.column(way.name).cases.set(name, await outcomeOf(one, target));
    }
    target.client.close();
    await close();
    for (const server of servers) await server.kill();
  }
  suite.excuseWhatBareFails();
  return suite;
}

async function outcomeOf(one: Case, target: Target): Promise<Outcome> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve("no end within 30 s"), CASE_TIMEOUT_MS);
  });
  const done = one(target).then(
    () => undefined,
    (error: unknown) => textOf(error),
  );
  const outcome = await Promise.race([done, late]);
  clearTimeout(timer);
  return outcome;
}

function textOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replaceAll(/\s+/g, " ").slice(0, 300);
}
