/** gRPC's Go client against our server: each case on each way. */
import { Suite, type Outcome } from "./outcomes.ts";
import type { Peers } from "./peers.ts";
import { run } from "./processes.ts";
import { interopServer, listen } from "./server.ts";
import type { ServerWay } from "./way.ts";

/** What the Go client has and needs no cloud. */
export const GO_CASES: readonly string[] = [
  "empty_unary",
  "large_unary",
  "client_streaming",
  "server_streaming",
  "ping_pong",
  "empty_stream",
  "timeout_on_sleeping_server",
  "cancel_after_begin",
  "cancel_after_first_response",
  "status_code_and_message",
  "special_status_message",
  "unimplemented_method",
  "unimplemented_service",
  "custom_metadata",
  "orca_per_rpc",
  "orca_oob",
  "rpc_soak",
  "channel_soak",
];

/** The time limits of the soaks measure the machine; ours say only that nothing hangs. */
const SOAK = [
  "-soak_iterations=20",
  "-soak_per_iteration_max_acceptable_latency_ms=20000",
  "-soak_overall_timeout_seconds=60",
];
/** Load reports reach the case through a balancer that Go's client brings along. */
const ORCA = [
  '-service_config_json={"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}',
];
const CASE_TIMEOUT_MS = 60_000;

export async function serverSuite(
  peers: Peers,
  ways: readonly ServerWay[],
  progress: (line: string) => void,
): Promise<Suite> {
  const suite = new Suite(
    "server",
    ways.map(({ name }) => name),
  );
  for (const way of ways) {
    progress(`the Go client against our server, ${way.name}`);
    const server = interopServer();
    way.wrap(server);
    const port = await listen(server);
    for (const name of GO_CASES) {
      suite.column(way.name).cases.set(name, await goCase(peers, port, name));
    }
    server.forceShutdown();
  }
  suite.excuseWhatBareFails();
  return suite;
}

/** One case of Go's client against what listens on the port. */
export async function goCase(peers: Peers, port: number, name: string): Promise<Outcome> {
  const args = ["-server_host=127.0.0.1", `-server_port=${port}`, `-test_case=${name}`, ...SOAK];
  if (name.startsWith("orca")) args.push(...ORCA);
  const { code, output } = await run(peers.grpcClient, args, CASE_TIMEOUT_MS);
  return code === 0 ? undefined : lastOf(output);
}

/** Go's client says why in the last line it writes. */
function lastOf(output: string): string {
  return output.trim().split("\n").at(-1)?.slice(0, 300) ?? "no reason given";
}
