/**
 * Starts the SDK of OpenTelemetry for a process that has none, and makes every mesh part of what it exports. Where
 * there is one already, only the spans are ours to add: a reader takes a producer when it is made, and not later.
 */
import { exportEveryMesh, NodeRuntime, type ProcessMesh, type Runtime } from "@inmesh/core/spi";
import { BegunWork } from "./begun-work.ts";
import { EveryMesh } from "./every-mesh.ts";
import { needed } from "./needed.ts";
import { readersOfEnv } from "./readers.ts";
import { loadApi, loadSdk, loadTraces } from "./sdk.cjs";

/** What became of it: it runs, another one was there before, or `OTEL_SDK_DISABLED` is `true`. */
export type TelemetryState = "started" | "registered" | "disabled";

/** The SDK of this process. */
export interface ProcessTelemetry {
  readonly state: TelemetryState;
  /**
   * Sends what is held, and ends the SDK; idempotent. Resolves after `withinMs` (default 2,000) at the latest, and never
   * rejects. At the end of the process it is called by itself: call it before a `process.exit` of your own. No
   * effect on an SDK that was registered by others.
   */
  close(withinMs?: number): Promise<void>;
}

const CODE = "INMESH_TELEMETRY";
const INSTALL =
  "inmesh/telemetry starts the SDK of OpenTelemetry, which is not installed: npm install @opentelemetry/api @opentelemetry/sdk-node";
const CLOSE_MS = 2_000;
/** Between two looks at whether others have finished. */
const AGAIN_MS = 100;

/** Throws an Error that says what to install. */
export function startTelemetry(env: NodeJS.ProcessEnv): ProcessTelemetry {
  if (env["OTEL_SDK_DISABLED"]?.trim().toLowerCase() === "true") {
    return { state: "disabled", close: () => Promise.resolve() };
  }
  if (isRegistered()) {
    warn(
      "an SDK of OpenTelemetry is registered already, so none is started and only spans are added; give metricProducer(mesh) of inmesh/metrics to a reader of that SDK for the metrics",
    );
    const { traceMesh } = loadTraces();
    exportEveryMesh((mesh) => ({
      name: "inmesh/telemetry",
      start: () => void traceMesh(mesh),
    }));
    return { state: "registered", close: () => Promise.resolve() };
  }
  return startSdk(env);
}

function startSdk(env: NodeJS.ProcessEnv): ProcessTelemetry {
  const { NodeSDK } = needed(loadSdk, INSTALL);
  const { traceMesh } = loadTraces();
  const meshes = new EveryMesh();
  const { readers, mistakes } = readersOfEnv(env, meshes, warn);
  for (const mistake of mistakes) warn(mistake);
  // Without instrumentations: those of node:http and undici would write spans of what the mesh has spans of.
  const running = new NodeSDK({ metricReaders: readers, instrumentations: [] });
  running.start();
  const runtime = new NodeRuntime();
  let closing: Promise<void> | undefined;
  let isClosed = false;
  const shutDown = async (): Promise<void> => {
    // What an exporter could not send is its own to say (`OTEL_LOG_LEVEL`).
    await running.shutdown().catch(() => {});
    isClosed = true;
  };
  const close = (withinMs = CLOSE_MS): Promise<void> => {
    closing ??= shutDown();
    return Promise.race([closing, elapsed(runtime, withinMs)]);
  };
  closeAtTheEnd(async () => {
    await close();
    return isClosed;
  }, runtime);
  exportEveryMesh((mesh: ProcessMesh) => ({
    name: "inmesh/telemetry",
    start() {
      traceMesh(mesh);
      meshes.add(mesh);
    },
    // Nothing is sent now: a collector that does not answer would keep the process for many seconds.
    close: () => meshes.remove(mesh),
  }));
  return { state: "started", close };
}

function warn(mistake: string): void {
  process.emitWarning(`inmesh/telemetry: ${mistake}`, { code: CODE });
}

function elapsed(runtime: Runtime, ms: number): Promise<void> {
  return new Promise((resolve) => void runtime.after(ms, resolve, undefined));
}

/**
 * Signals stay the application's: when it has nothing left to do, there is this. Exporters try again for many seconds
 * where no collector answers, and a process that is over must not wait for them: it ends as it would have ended without
 * us. What others begin meanwhile, in their own listeners of `beforeExit` too, is waited for.
 */
function closeAtTheEnd(close: () => Promise<boolean>, runtime: Runtime): void {
  process.prependOnceListener("beforeExit", () => {
    const work = new BegunWork();
    const endWithoutExporters = (): void => {
      if (work.isThere) work.except(() => runtime.after(AGAIN_MS, endWithoutExporters, undefined));
      else process.exit();
    };
    // Behind the other listeners, whose spans are sent too.
    process.nextTick(() =>
      work.except(async () => {
        if (await close()) work.stop();
        else endWithoutExporters();
      }),
    );
  });
}

interface Proxy {
  getDelegateTracer?(name: string): unknown;
}

/** The API gives a proxy, which has no tracer as long as there is no SDK behind it. */
function isRegistered(): boolean {
  const provider = needed(loadApi, INSTALL).trace.getTracerProvider() as Proxy;
  return (
    provider.getDelegateTracer === undefined || provider.getDelegateTracer("inmesh") !== undefined
  );
}
