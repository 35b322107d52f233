/** An application of gRPC that is called: its server in the mesh of a program, or a bare one behind a listener of the proxy. */
import { until } from "../bench.ts";
import { leastImportantFirst } from "../least-important.ts";
import type { ServeCall } from "../grpc.ts";
import type { Scenario } from "../scenario.ts";

const good: ServeCall = (call) => call.reply([`good ${call.messages.join()}`]);

const scenario = (id: string, run: Scenario["run"], varies?: RegExp): Scenario => ({
  id: `served gRPC: ${id}`,
  kind: "grpc-inbound",
  run,
  ...(varies !== undefined && { varies }),
});

export const SERVED_GRPC: readonly Scenario[] = [
  scenario("a call with metadata in both directions", async (bench) => {
    await bench.startGrpc({ posture: "mesh" }, (call) =>
      call.reply([call.header("x-sent") ?? ""], { "x-trailing": "1" }),
    );
    await bench.ask({ headers: { "x-sent": "1", "x-mesh-priority": "critical" } });
  }),
  scenario("streams of all kinds", async (bench) => {
    await bench.startGrpc({ posture: "mesh" }, (call) =>
      call.reply(call.path.endsWith("Collect") ? [call.messages.join()] : ["1", "2"]),
    );
    await bench.ask({ path: "collect", pieces: ["a", "b", "c"] });
    await bench.ask({ path: "expand" });
    await bench.ask({ path: "chat", pieces: ["a", "b"] });
  }),
  scenario("every status is the caller's", async (bench) => {
    await bench.startGrpc({ posture: "mesh" }, (call) =>
      call.end(call.number, `status ${call.number}`),
    );
    await bench.askTimes(16);
  }),
  scenario("a method that the application does not have", async (bench) => {
    await bench.startGrpc({ posture: "mesh" }, good);
    await bench.ask({ path: "absent" });
  }),
  scenario("too many calls are in progress, the least important go first", (bench) =>
    leastImportantFirst(bench, (options, take) =>
      bench.startGrpc(options, (call) => take(() => good(call))),
    ),
  ),
  ...(["edge", "local", "mesh"] as const).map((posture) =>
    scenario(`no call is allowed, posture ${posture}`, async (bench) => {
      await bench.startGrpc({ posture, limits: { maxInFlight: 0 } }, good);
      await bench.ask();
    }),
  ),
  scenario("too many hops", async (bench) => {
    await bench.startGrpc({ posture: "mesh", limits: { maxHops: 2 } }, good);
    await bench.ask({ headers: { "x-mesh-hops": "3" } });
    await bench.ask({ headers: { "x-mesh-hops": "2" } });
  }),
  scenario("metadata that is too large", async (bench) => {
    // Of the same default; each server has the name of its protocol.
    const limits = bench.way.side === "library" ? { maxMetadataCount: 20 } : { maxHeaderCount: 20 };
    await bench.startGrpc({ posture: "mesh", limits }, good);
    await bench.ask({
      headers: Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`x-${i}`, "1"])),
    });
    await bench.ask();
  }),
  scenario("no time is left on arrival", async (bench) => {
    await bench.startGrpc({ posture: "mesh" }, good);
    await bench.ask({ headers: { "x-mesh-timeout-ms": "0" } });
    await bench.ask({ timeoutMs: 10_000 });
  }),
  scenario(
    "the deadline passes while the application works",
    async (bench) => {
      await bench.startGrpc({ posture: "mesh" }, (call) => {
        if (call.number === 1) good(call);
      });
      await bench.ask();
      await bench.ask({ timeoutMs: 400 });
    },
    /[.]outcome$|[.](?:rpc\.status_code|status|error\.type|reason)$|^metric /,
  ),
  scenario("the client cancels", async (bench) => {
    let come = 0;
    await bench.startGrpc({ posture: "mesh" }, () => void come++);
    await bench.ask({ leaves: until(() => come === 1) });
  }),
  scenario("questions about health", async (bench) => {
    await bench.startGrpc({ posture: "mesh" }, good);
    await bench.ask({ path: "health", body: "" });
  }),
  scenario("a drain lets calls in progress end", async (bench) => {
    let release = (): void => {};
    const held = new Promise<void>((resolve) => (release = resolve));
    let begun = 0;
    await bench.startGrpc(
      { posture: "mesh", server: { discoveryWait: "20ms", idleWait: "20ms" } },
      (call) => {
        begun++;
        void held.then(() => good(call));
      },
    );
    const asked = bench.ask();
    await until(() => begun === 1);
    bench.note("before", bench.state);
    const drained = bench.drain(5_000);
    bench.note("during", bench.state);
    release();
    await asked;
    await drained;
    bench.note("after", bench.state);
  }),
];
