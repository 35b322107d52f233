/** C6: the servers' host vanishes with the proxy's connections open; prints what became of the calls. */
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import { connect } from "node:net";
import { OtherHost } from "../../../http/test/children/other-host.ts";
import { FAR1, FAR2, farProxy, near, PAIRS, SERVER, until, type Pair } from "./far-proxy.ts";

const ONE_BYTE = Buffer.from("x");
const host = await OtherHost.start(SERVER);
let posts = 0;
const seen = (method: string): void => void (method === "POST" && posts++);
const [first, second] = [await near(http.createServer, seen), await near(http2.createServer, seen)];

/** The other host first, as long as it can be reached. */
const farFirst = (far: string, { port }: { port: number }): object => ({
  discovery: {
    static: [
      { host: far.split(":")[0], port: Number(far.split(":")[1]) },
      { host: "127.0.0.1", port, weight: 0 },
    ],
  },
  timeouts: { request: "20s", backendRequest: "2s", connect: "1s" },
});
const { mesh, call, portOf, close } = await farProxy((pair) =>
  pair[2] === "1" ? farFirst(FAR1, first) : farFirst(FAR2, second),
);

const ofEach = async <Value>(
  play: (pair: Pair) => Promise<Value>,
): Promise<Record<string, Value>> =>
  Object.fromEntries(
    await Promise.all(PAIRS.map(async (pair) => [pair, await play(pair)] as const)),
  );

// On a busy machine the first dials to the other host can take too long, and it is left out for a while.
for (let tries = 0; tries < 20; tries++) {
  // Two connections of HTTP/1 each: what is asked later is asked twice at once.
  const warm = await ofEach((pair) =>
    Promise.all([call(pair, "GET", "/slow"), call(pair, "GET", "/slow")]),
  );
  if (
    Object.values(warm)
      .flat()
      .every((end) => end === "200 slow")
  )
    break;
  await new Promise((resolve) => setTimeout(resolve, 500));
}
const tunnel = connect(portOf("db"), "127.0.0.1");
await once(tunnel, "connect");
tunnel.on("error", () => {});
await new Promise((resolve) => setTimeout(resolve, 300));

/** Of every connection that the proxy has, on both of its sides: how long the kernel waits before it asks whether the peer lives. */
function keepalives(): { upstream: string[]; client: string[] } {
  const [upstream, client]: [string[], string[]] = [[], []];
  const ours = new Set([...PAIRS, "db"].map((name) => String(portOf(name))));
  const lines = execFileSync("ss", ["-tnoH", "state", "established"], { encoding: "utf8" });
  for (const line of lines.trim().split("\n")) {
    const [, , local = "", peer = "", timer = ""] = line.trim().split(/\s+/);
    const said = /keepalive,(\S+?)(?:sec|ms),/.exec(timer)?.[1] ?? "none";
    if (peer.startsWith("10.99.0.2:")) upstream.push(said);
    else if (ours.has(local.split(":").at(-1)!)) client.push(said);
  }
  return { upstream, client };
}
const asked = keepalives();

host.vanish();
const get = ofEach((pair) => until("200 near", () => call(pair, "GET", "/")));
const post = ofEach((pair) => call(pair, "POST", "/", ONE_BYTE));
const ends = { get: await get, post: await post };
// By now it is known that the host is gone.
const again = await ofEach(async (pair) => {
  const all: string[] = [];
  for (let i = 0; i < 10; i++) all.push(await call(pair, "GET", "/"));
  return [...new Set(all)];
});
const inFlight = mesh
  .snapshot()
  .services.filter(({ protocol }) => protocol === "http")
  .map(({ callsInFlight }) => callsInFlight);
tunnel.destroy();
await close();
for (const { server } of [first, second]) server.close();
await host.stop();
process.stdout.write(JSON.stringify({ asked, ...ends, again, posts, inFlight }));
process.exit();
