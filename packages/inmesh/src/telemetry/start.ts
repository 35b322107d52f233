/**
 * Starts the SDK of OpenTelemetry for a process that has none, and makes every mesh part of what it exports. Where
 * there is one already, only the spans are ours to add: a reader takes a producer when it is made, and not later.
 */
import { trace } from "@opentelemetry/api";
import { traceMesh } from "@inmesh/core/traces";
import { exportEveryMesh, type ProcessMesh } from "@inmesh/core/spi";
import { EveryMesh } from "./every-mesh.ts";
import { readersOfEnv } from "./readers.ts";
import { loadSdk, type Sdk } from "./sdk.cjs";

/** What became of it: it runs, another one was there before, or `OTEL_SDK_DISABLED` is `true`. */
export type TelemetryState = "started" | "registered" | "disabled";

/** The SDK of this process. */
export interface ProcessTelemetry {
  readonly state: TelemetryState;
  /**
   * Sends what is held, and ends the SDK; idempotent. At the end of the process it is called by itself: call it
   * before a `process.exit` of your own. Never rejects. No effect on an SDK that was registered by others.
   */
  close(): Promise<void>;
}

interface Flushing {
  forceFlush?(): Promise<void>;
}

const CODE = "INMESH_TELEMETRY";

/** Throws an Error that says what to install. */
export function startTelemetry(env: NodeJS.ProcessEnv): ProcessTelemetry {
  if (env["OTEL_SDK_DISABLED"]?.trim().toLowerCase() === "true") {
    return { state: "disabled", close: () => Promise.resolve() };
  }
  if (isRegistered()) {
    const text =
      "inmesh/telemetry: an SDK of OpenTelemetry is registered already, so none is started and only spans are added; give metricProducer(mesh) of inmesh/metrics to a reader of that SDK for the metrics";
    process.emitWarning(text, { code: CODE });
    exportEveryMesh((mesh) => ({
      name: "inmesh/telemetry",
      start: () => void traceMesh(mesh),
    }));
    return { state: "registered", close: () => Promise.resolve() };
  }
  return startSdk(env);
}

function startSdk(env: NodeJS.ProcessEnv): ProcessTelemetry {
  const { NodeSDK } = sdk();
  const meshes = new EveryMesh();
  const { readers, mistakes } = readersOfEnv(env, meshes);
  for (const mistake of mistakes)
    process.emitWarning(`inmesh/telemetry: ${mistake}`, { code: CODE });
  // Without instrumentations: those of node:http and undici would write spans of what the mesh has spans of.
  const running = new NodeSDK({ metricReaders: readers, instrumentations: [] });
  running.start();
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => (closing ??= ended(running.shutdown()));
  // Signals stay the application's. When nothing is left to do, this is.
  process.once("beforeExit", () => void close());
  const flush = async (): Promise<void> => {
    const flushing: Flushing[] = [...readers, tracerProvider()];
    await Promise.all(flushing.map((one) => ended(one.forceFlush?.())));
  };
  exportEveryMesh((mesh: ProcessMesh) => ({
    name: "inmesh/telemetry",
    start() {
      traceMesh(mesh);
      meshes.add(mesh);
    },
    async close() {
      if (closing === undefined) await flush();
      meshes.remove(mesh);
    },
  }));
  return { state: "started", close };
}

function sdk(): Sdk {
  try {
    return loadSdk();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== "MODULE_NOT_FOUND" || !message.includes("@opentelemetry/sdk-node")) throw error;
    throw new Error(
      "inmesh/telemetry starts the SDK of OpenTelemetry, which is not installed: npm install @opentelemetry/api @opentelemetry/sdk-node",
      { cause: error },
    );
  }
}

/** What an exporter could not send is its own to say (`OTEL_LOG_LEVEL`). */
async function ended(work: Promise<unknown> | undefined): Promise<void> {
  try {
    await work;
  } catch {
    // it has said so
  }
}

interface Proxy {
  getDelegate?(): object;
  getDelegateTracer?(name: string): unknown;
}

function tracerProvider(): object {
  const provider = trace.getTracerProvider() as Proxy;
  return provider.getDelegate?.() ?? provider;
}

/** The API gives a proxy, which has no tracer as long as there is no SDK behind it. */
function isRegistered(): boolean {
  const provider = trace.getTracerProvider() as Proxy;
  return (
    provider.getDelegateTracer === undefined || provider.getDelegateTracer("inmesh") !== undefined
  );
}
