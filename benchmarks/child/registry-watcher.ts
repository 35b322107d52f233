/** A client of one name, in a process that does nothing else: what it knows, and what knowing it costs. */
import { createMesh, meshClient } from "@inmesh/http";
import { settledHeap } from "../child.ts";

export type WatcherRequest =
  | { readonly endpoints: number }
  | { readonly heap: true }
  | { readonly cpuSeconds: number };

const [dir = "", name = ""] = process.argv.slice(2);
const mesh = createMesh({ registry: dir, env: {} });
const client = meshClient(name, { mesh });
await client.fetch("/").catch(() => {});

const known = (): number => mesh.snapshot().services[0]!.endpoints.length;
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

process.on("message", (request: WatcherRequest) => {
  const answer = async (): Promise<number> => {
    if ("heap" in request) return settledHeap();
    if ("endpoints" in request) {
      while (known() !== request.endpoints) await pause(5);
      return Date.now();
    }
    const before = process.cpuUsage();
    await pause(1_000 * request.cpuSeconds);
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1e4 / request.cpuSeconds;
  };
  void answer().then((value) => process.send!(value));
});
process.on("disconnect", () => process.exit());
process.send!("ready");
