/** C20: packets above 600 bytes are lost between the proxy and its servers, first on their way there, then on their way back. */
import { OtherHost } from "../../../http/test/children/other-host.ts";
import { readSeries } from "../../../http/test/support/series.ts";
import { ask1, FAR1, FAR2, farProxy, PAIRS, SERVER, until } from "./far-proxy.ts";

type Caller = (method: string, path: string, body?: Buffer) => Promise<string>;

const LARGE = Buffer.alloc(100_000, "y");
const service = {
  timeouts: { request: "5s", backendRequest: "500ms", bodyIdle: "700ms" },
  retry: { attempts: 1 },
};

type Lost = "nothing" | "there" | "here";

async function ends(call: Caller, lost: Lost): Promise<readonly string[]> {
  const small = await call("GET", "/");
  const up = await call("POST", "/", LARGE);
  const large = (): Promise<string> => call("GET", "/large");
  const down = lost === "here" ? await large() : await until("200 whole", large);
  // What is lost must not stand in its way for ever.
  return [small, up, down, await until("200 0", () => call("GET", "/"))];
}

/** With a proxy of its own each time, so that no connection remembers the other direction. */
async function play(lost: Lost): Promise<object> {
  const { mesh, call, portOf, close } = await farProxy(
    (pair) => ({ ...service, discovery: { static: [pair[2] === "1" ? FAR1 : FAR2] } }),
    { idleTimeout: "700ms" },
  );
  const tunnel: Caller = (...asked) => ask1(false, portOf("db"), ...asked);
  const all = [
    ...PAIRS.map((pair) => [pair, (...asked) => call(pair, ...asked)] as [string, Caller]),
    ["PT", tunnel] as [string, Caller],
  ];
  const seen = await Promise.all(
    all.map(async ([surface, one]) => [surface, await ends(one, lost)] as const),
  );
  const timeoutsOf = (name: string): number =>
    readSeries(mesh, "inmesh.attempts", { service: name, outcome: "timeout" }) ?? 0;
  const tries = lost === "nothing" ? 0 : 5;
  for (let i = 0; i < tries; i++) {
    const left = PAIRS.filter((pair) => timeoutsOf(pair) === 0);
    await Promise.all(left.map((pair) => ends((...asked) => call(pair, ...asked), lost)));
  }
  const timeouts = PAIRS.map(timeoutsOf);
  const inFlightNow = (): number[] =>
    mesh.snapshot().services.map(({ callsInFlight }) => callsInFlight);
  // A tunnel ends a moment after its client.
  for (let looks = 0; looks < 100 && inFlightNow().some((count) => count > 0); looks++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const inFlight = inFlightNow();
  await close();
  return { ...Object.fromEntries(seen), timeouts, inFlight };
}

const host = await OtherHost.start(SERVER);
const healthy = await play("nothing");
host.loseLarge("there", 600);
const lostThere = await play("there");
host.loseNothing();
host.loseLarge("here", 600);
const lostHere = await play("here");
await host.stop();
process.stdout.write(JSON.stringify({ healthy, lostThere, lostHere }));
