/**
 * Announcements of many processes, as far as others can see: each has a socket of its own. All of one name, or each of
 * another. Answers how long each took, in milliseconds, from the request to the entry that is on the disk.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { NodeRuntime } from "@inmesh/core/spi";
import { Announcer, type Announced } from "../../packages/core/src/discovery/registry/announce.ts";
import {
  fileNameOf,
  type RegistryEntry,
} from "../../packages/core/src/discovery/registry/entry.ts";

export type ManyRequest =
  | { readonly announce: number; readonly name: string; readonly own: boolean }
  | { readonly churn: number };

const dir = process.argv[2]!;
const runtime = new NodeRuntime();
const all: { readonly announced: Announced; readonly entry: RegistryEntry }[] = [];
let port = 1_024;

async function announce(name: string): Promise<number> {
  const startedAt = performance.now();
  const announcer = new Announcer(dir, runtime);
  const announced = announcer.add((why) => {
    throw new Error(why);
  });
  const entry: RegistryEntry = {
    version: 1,
    name,
    protocol: "http",
    speaks: ["http/1.1"],
    tls: false,
    addresses: [`127.0.0.1:${port++}`],
    state: "serving",
    pid: process.pid,
    startedAtUnixMs: Date.now(),
  };
  announced.say(entry);
  all.push({ announced, entry });
  while (announcer.id === undefined) await new Promise((resolve) => setImmediate(resolve));
  if (!existsSync(join(dir, fileNameOf(name, "http", announcer.id, 0)))) {
    throw new Error("it has a socket and no entry");
  }
  return performance.now() - startedAt;
}

/** For so many seconds, 50 times a second, one of them begins to drain or serves again. */
async function churn(seconds: number): Promise<number> {
  const startedAt = performance.now();
  let changes = 0;
  while (performance.now() - startedAt < 1_000 * seconds) {
    const { announced, entry } = all[changes % all.length]!;
    const state = Math.floor(changes / all.length) % 2 === 0 ? "draining" : "serving";
    announced.say({ ...entry, state });
    changes++;
    const dueMs = changes * 20 - (performance.now() - startedAt);
    if (dueMs > 0) await new Promise((resolve) => setTimeout(resolve, dueMs));
  }
  return changes;
}

process.on("message", (request: ManyRequest) => {
  const answer = async (): Promise<unknown> => {
    if ("churn" in request) return await churn(request.churn);
    const times: number[] = [];
    for (let i = 0; i < request.announce; i++) {
      times.push(await announce(request.own ? `${request.name}-${i}` : request.name));
    }
    return { times, at: Date.now() };
  };
  void answer().then((value) => process.send!(value));
});
process.on("disconnect", () => process.exit());
process.send!("ready");
