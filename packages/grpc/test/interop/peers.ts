/**
 * The programs of others that the interoperability tests talk to, built from their sources by Go.
 * They go to a folder outside git; what is there already is used as it is.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export interface Peers {
  /** gRPC's interoperability client and server, in Go. */
  readonly grpcClient: string;
  readonly grpcServer: string;
  /** The runner of Connect's conformance suite. */
  readonly conformance: string;
}

type Progress = (line: string) => void;

/** Exact versions: a peer that changes by itself would make the known failures untrue. */
const GRPC = { module: "google.golang.org/grpc", version: "v1.85.0" };
const CONFORMANCE = { module: "connectrpc.com/conformance", version: "v1.0.7" };
const GHZ = { module: "github.com/bojand/ghz", version: "v0.93.0" };

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
const CACHE: string = join(ROOT, "node_modules/.cache/inmesh-interop");

/** Throws with a message for people if Go is missing or a peer cannot be built. */
export async function findPeers(progress: Progress): Promise<Peers> {
  // Both programs have short names, so each module has a folder of its own.
  const grpc = join(CACHE, `grpc-${GRPC.version}`);
  const conformance = join(CACHE, `conformance-${CONFORMANCE.version}`);
  await build(grpc, GRPC, ["interop/client", "interop/server"], progress);
  await build(conformance, CONFORMANCE, ["cmd/connectconformance"], progress);
  return {
    grpcClient: join(grpc, "client"),
    grpcServer: join(grpc, "server"),
    conformance: join(conformance, "connectconformance"),
  };
}

const GHZ_FOLDER: string = join(CACHE, `ghz-${GHZ.version}`);

/** The load generator of the benchmarks; throws as `findPeers` does. */
export async function buildGhz(progress: Progress): Promise<string> {
  await build(GHZ_FOLDER, GHZ, ["cmd/ghz"], progress);
  return join(GHZ_FOLDER, "ghz");
}

/** What `buildGhz` has built, or the one on the PATH; undefined if there is neither. */
export function findGhz(): string | undefined {
  return [join(GHZ_FOLDER, "ghz"), "ghz"].find(
    (ghz) => spawnSync(ghz, ["--version"], { stdio: "ignore" }).status === 0,
  );
}

async function build(
  folder: string,
  source: { readonly module: string; readonly version: string },
  programs: readonly string[],
  progress: Progress,
): Promise<void> {
  const missing = programs.filter((path) => !existsSync(join(folder, path.split("/").at(-1)!)));
  if (missing.length === 0) return;
  const go = findGo();
  mkdirSync(folder, { recursive: true });
  const began = Date.now();
  for (const path of missing) progress(`building ${source.module}/${path}@${source.version}`);
  const targets = missing.map((path) => `${source.module}/${path}@${source.version}`);
  const child = spawn(go, ["install", "-ldflags=-s -w", ...targets], {
    env: { ...process.env, GOBIN: folder },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said = (said + chunk.toString()).slice(-4000)));
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  if (code !== 0) throw new Error(`go install ${targets.join(" ")} failed:\n${said}`);
  progress(`built in ${Math.round((Date.now() - began) / 1000)} s`);
}

/** On the PATH, or where Go's own installer puts it. */
function findGo(): string {
  for (const go of ["go", "/usr/local/go/bin/go"]) {
    if (spawnSync(go, ["version"], { stdio: "ignore" }).status === 0) return go;
  }
  throw new Error(
    "The peers of the interoperability tests are built by Go, and there is no `go` on the PATH.\n" +
      "Install Go 1.26 or newer, or put its `bin` folder on the PATH, and run this again.",
  );
}
