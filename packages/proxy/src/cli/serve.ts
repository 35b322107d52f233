/** The proxy as a process: what it opens, what it says, how it leaves. */
import { accessLog, ConfigError, type Log, type LogLine } from "@inmesh/core";
import { AdminError, createMesh, type AdminListener, type HttpMesh } from "inmesh";
import { EXIT, Failure, type Context, type ExitCode } from "inmesh/cli";
import { ListenError } from "../listen/listen-error.ts";
import { startProxy } from "../proxy.ts";
import { configOf, Ports } from "../serve/ports.ts";
import { PROXY_SECTION } from "../serve/section.ts";
import { banner } from "./banner.ts";
import { kindsToRun } from "./kinds.ts";
import { assertListens, configFailure } from "./look.ts";
import type { AdminSettings, Settings } from "./settings.ts";
import { Signals } from "./signals.ts";

/** Of the grace, for what is closed after the connections: exporters, discovery, the admin address. */
const CLOSE_SHARE = 0.1;
const MAX_CLOSE_MS = 1_000;

export async function serve(settings: Settings, context: Context): Promise<ExitCode> {
  const { output } = context;
  if (settings.workers > 1) {
    const { supervise } = await import("./workers.ts");
    return supervise(settings, context);
  }
  // First, so that one that comes while everything is opened is not lost.
  const signals = new Signals();
  const mesh = await openMesh(settings, context);
  const ports = new Ports({ mesh, startHttp: startProxy, reusePort: settings.reusePort });
  let admin: AdminListener | undefined;
  try {
    assertListens(mesh.config.current);
    await ports.start();
    admin = await listenAdmin(mesh, settings.admin);
  } catch (error) {
    await ports.drain(0);
    await mesh.close(0);
    signals.stop();
    throw listenFailure(error);
  }
  if (settings.log !== "none" && (settings.worker ?? 1) === 1) {
    output.error(banner(ports.list, mesh.config.current, admin, output));
    if (admin?.token !== undefined) output.hint(`  token ${admin.token} (INMESH_ADMIN_TOKEN)`);
  }
  process.send?.("ready");
  // The process that started the workers is gone, and with it what passes signals on and starts another one.
  if (settings.worker !== undefined) process.once("disconnect", () => signals.leave());
  const { isUrgent } = await signals.first;
  const graceMs = settings.drainGraceMs ?? configOf(mesh).drainGraceMs;
  return await leave(mesh, ports, graceMs, isUrgent, signals, context);
}

/** Ends within the grace in every case. A second signal ends it at once. */
async function leave(
  mesh: HttpMesh,
  ports: Ports,
  graceMs: number,
  isUrgent: boolean,
  signals: Signals,
  { output }: Context,
): Promise<ExitCode> {
  const { runtime } = mesh;
  const endsAt = runtime.now() + graceMs;
  const closeMs = Math.min(MAX_CLOSE_MS, graceMs * CLOSE_SHARE);
  const over = Promise.withResolvers<void>();
  const timer = runtime.after(graceMs, over.resolve, undefined, true);
  const closed = (async () => {
    await ports.drain(graceMs - closeMs, isUrgent);
    await mesh.close(Math.max(0, endsAt - runtime.now()));
  })();
  const ended = await Promise.race([
    closed.then(() => "closed" as const),
    over.promise.then(() => "over" as const),
    signals.second.then(() => "interrupted" as const),
  ]);
  timer.cancel();
  signals.stop();
  if (ended === "interrupted") return EXIT.interrupted;
  if (ended === "over") output.error("mesh-proxy: the grace is over; what was left is cut off");
  return EXIT.ok;
}

async function openMesh(
  { configFile, input, log, accessLog: format }: Settings,
  { env, output, clock }: Context,
): Promise<HttpMesh> {
  const exporters = format === "none" ? [] : [accessLog({ stream: process.stdout, format })];
  try {
    return createMesh({
      env,
      sections: [PROXY_SECTION],
      discoveries: kindsToRun(env),
      exporters,
      ...(configFile !== undefined && { configFile }),
      ...(input !== undefined && { config: input }),
      ...(log !== "none" && { log: logTo((line) => output.error(line), log, clock) }),
    });
  } catch (error) {
    throw configFailure(error);
  }
}

function logTo(
  write: (line: string) => void,
  format: "text" | "json",
  clock: Context["clock"],
): Log {
  return (line: LogLine) =>
    write(
      format === "json"
        ? JSON.stringify({ timeMs: clock.wallNow(), ...line })
        : `${line.level} ${line.event} ${line.message}`,
    );
}

async function listenAdmin(
  mesh: HttpMesh,
  settings: AdminSettings | undefined,
): Promise<AdminListener | undefined> {
  if (settings === undefined) return undefined;
  const { address, tokenFile, isMetricsOpen } = settings;
  return mesh.admin.listen({
    ...(address.path === undefined ? address : { socketPath: address.path }),
    ...(tokenFile !== undefined && { token: { file: tokenFile } }),
    metrics: isMetricsOpen ? "open" : "token",
  });
}

const EXIT_OF: Readonly<Record<ListenError["kind"], ExitCode>> = {
  taken: EXIT.conflict,
  denied: EXIT.denied,
  failed: EXIT.unreachable,
};

function listenFailure(error: unknown): unknown {
  if (error instanceof ConfigError) return configFailure(error);
  if (error instanceof AdminError) {
    const of = ListenError.of(error.cause as Error, error.address);
    return new Failure(EXIT_OF[of.kind], { what: `--admin: ${of.message}`, next: of.hint }, error);
  }
  const all = error instanceof AggregateError ? (error.errors as unknown[]) : [error];
  const [first] = all;
  if (!(first instanceof ListenError)) return error;
  const what = all.map((one) => (one as Error).message).join("\n");
  return new Failure(EXIT_OF[first.kind], { what, next: first.hint }, error);
}
