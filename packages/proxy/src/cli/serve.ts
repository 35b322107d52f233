/** The proxy as a process: what it opens, what it says, how it leaves. */
import { accessLog } from "@inmesh/core";
import { createMesh, type AdminListener, type HttpMesh } from "inmesh";
import { EXIT, type Context, type ExitCode } from "inmesh/cli";
import type { Runtime, Timer } from "@inmesh/core/spi/transport";
import { startProxy } from "../proxy.ts";
import { configOf, Ports } from "../serve/ports.ts";
import { PROXY_SECTION } from "../serve/section.ts";
import type { Serving } from "../workers/messages.ts";
import { adminOptions, logTo, shownAdmin } from "./admin.ts";
import { banner } from "./banner.ts";
import { kindsToRun } from "./kinds.ts";
import { listenFailure } from "./listen-failure.ts";
import { assertListens, configFailure } from "./look.ts";
import type { Settings } from "./settings.ts";
import { Signals } from "./signals.ts";

/** Of the grace, for what is closed after the connections: exporters, discovery, the admin address. */
const CLOSE_SHARE = 0.1;
const MAX_CLOSE_MS = 1_000;
const HOLD_MS = 3_600_000;

export async function serve(settings: Settings, context: Context): Promise<ExitCode> {
  const { output } = context;
  if (settings.workers > 1) {
    const { supervise } = await import("./workers.ts");
    return supervise(settings, context);
  }
  // First, so that one that comes while everything is opened is not lost.
  const signals = new Signals(settings.worker !== undefined);
  const mesh = await openMesh(settings, context);
  const ports = new Ports({ mesh, startHttp: startProxy, reusePort: settings.reusePort });
  let admin: AdminListener | undefined;
  try {
    assertListens(mesh.config.current, settings);
    await ports.start();
    if (settings.admin !== undefined) admin = await mesh.admin.listen(adminOptions(settings.admin));
  } catch (error) {
    await ports.drain(0);
    await mesh.close(0);
    signals.stop();
    throw listenFailure(error);
  }
  if (settings.worker !== undefined) await workFor(mesh, ports, signals);
  else if (settings.log !== "none") {
    const services = Object.keys(mesh.config.current.services);
    // Readers of JSON want nothing else there; events say what listens where.
    if (settings.log === "text") {
      output.error(banner(ports.list, services, 1, shownAdmin(admin, settings), output));
    }
    if (admin?.token !== undefined) output.hint(`  token ${admin.token} (INMESH_ADMIN_TOKEN)`);
  }
  const letGo = hold(mesh.runtime);
  const { isUrgent } = await signals.first;
  letGo();
  const graceMs = settings.drainGraceMs ?? configOf(mesh).drainGraceMs;
  return await leave(mesh, ports, graceMs, isUrgent, signals, context);
}

/** As one of several: it says what it serves, and answers what is asked about it. */
async function workFor(mesh: HttpMesh, ports: Ports, signals: Signals): Promise<void> {
  const { answerQuestions } = await import("../workers/answers.ts");
  answerQuestions(mesh);
  const say = (): void => {
    const serving: Serving = {
      what: "serving",
      listeners: ports.list.map(({ name, address, config }) => ({ name, address, config })),
      services: Object.keys(mesh.config.current.services),
      drainGraceMs: configOf(mesh).drainGraceMs,
    };
    process.send?.(serving, undefined, {}, () => {});
  };
  say();
  mesh.config.subscribe(say);
  // The process that started the workers is gone, and with it what passes signals on and starts another one.
  process.once("disconnect", () => signals.leave());
}

/** The process stays although a changed file has no listener: another change may have one. */
function hold(runtime: Runtime): () => void {
  let timer: Timer;
  const again = (): void => void (timer = runtime.after(HOLD_MS, again, undefined, true));
  again();
  return () => timer.cancel();
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

async function openMesh(settings: Settings, context: Context): Promise<HttpMesh> {
  const { configFile, input, accessLog: format } = settings;
  const { env } = context;
  const log = logTo(settings, context);
  const exporters = format === "none" ? [] : [accessLog({ stream: process.stdout, format })];
  try {
    return createMesh({
      env,
      sections: [PROXY_SECTION],
      discoveries: kindsToRun(env),
      exporters,
      ...(configFile !== undefined && { configFile }),
      ...(input !== undefined && { config: input }),
      ...(log !== undefined && { log }),
    });
  } catch (error) {
    throw configFailure(error);
  }
}
