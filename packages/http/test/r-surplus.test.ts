/** What comes behind the last request that a connection is served: read no further, kept nowhere. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { rawTo, start } from "./support/server.ts";
import { RawClient } from "./support/raw-client.ts";
import { sleep, until } from "./wire.ts";

const GET = (path: string): string => `GET ${path} HTTP/1.1\r\nhost: svc\r\n\r\n`;
const MB = 1 << 20;
const CHILD = fileURLToPath(new URL("children/pipelined.ts", import.meta.url));
const FLAGS = ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"];
/** Beside bare Node with the same bytes; its own peak differs by as much from one run to the next. */
const MAX_OVER_BARE_MB = 64;

/** A server that reads nothing for so long reads no more. */
const STUCK_MS = 1_500;

type Kind = "bare" | "made" | "given";
type Case = "pipelined" | "refused" | "draining";

interface Report {
  /** Slow requests that were read and are not answered. */
  readonly waiting: number;
  /** At most so far, in bytes. */
  readonly rss: number;
}

interface Outcome {
  readonly rssMb: number;
  readonly text: string;
  readonly exitCode: number | null;
}

/** A slow request, what ends the connection behind it, and then `megabytes` of requests. */
async function flood(kind: Kind, what: Case, megabytes: number, heapMb: number): Promise<Outcome> {
  const child = fork(CHILD, [kind], {
    execArgv: [...FLAGS, `--max-old-space-size=${heapMb}`],
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  const exited = once(child, "exit") as Promise<[number | null]>;
  const ask = async (message: string): Promise<Report | undefined> => {
    if (child.exitCode !== null || child.signalCode !== null) return undefined;
    child.send(message);
    return ((await Promise.race([once(child, "message"), exited.then(() => [])])) as [Report?])[0];
  };
  const [{ port }] = (await once(child, "message")) as [{ port: number }];
  using client = await RawClient.to(port);
  client.send(GET("/slow"));
  // In the order in which it is meant, however busy the machine is.
  while ((await ask("report"))?.waiting === 0) await sleep(10);
  if (what === "draining") await ask("close");
  if (what === "refused") client.send(GET("/#bad"));
  await sleep(100);
  const block = Buffer.from(GET("/").repeat(2_000));
  const endsAt = performance.now() + 4_000;
  for (let sent = 0; sent < megabytes * MB && performance.now() < endsAt; sent += block.length) {
    if (client.closed || !client.socket.writable) break;
    if (client.socket.write(block)) continue;
    let isStuck = true;
    const drained = new Promise<void>((resolve) => client.socket.once("drain", () => resolve()));
    const reads = Promise.race([drained, exited]).then(() => (isStuck = false));
    await Promise.race([reads, sleep(STUCK_MS)]);
    if (isStuck) break;
  }
  await sleep(500);
  const report = await ask("report");
  await ask("answer");
  // Bare Node has all of them to answer, and the client reads it all.
  if (kind === "bare") await sleep(500);
  else await Promise.race([client.end(), exited, sleep(5_000)]);
  const { exitCode } = child;
  return { rssMb: Math.round((report?.rss ?? Infinity) / MB), text: client.text, exitCode };
}

function statuses(text: string): string {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status).join(" ");
}

const SERVED: Record<Case, string> = {
  pipelined: `${"200 ".repeat(16)}503`,
  refused: "200 400",
  draining: "200",
};

describe("R2 LS", () => {
  for (const what of ["pipelined", "refused", "draining"] as const) {
    it(
      `R2 LS: ${what}: memory over bare is bounded, and the replies go out`,
      { timeout: 120_000 },
      async () => {
        for (const megabytes of [12, 49]) {
          const [bare, made, given] = await Promise.all(
            (["bare", "made", "given"] as const).map((kind) => flood(kind, what, megabytes, 2_048)),
          );
          const overBareMb = { made: made!.rssMb - bare!.rssMb, given: given!.rssMb - bare!.rssMb };
          for (const [kind, over] of Object.entries(overBareMb)) {
            expect(over, `memory over bare, MB: ${kind}, ${megabytes} MB`).toBeLessThan(
              MAX_OVER_BARE_MB,
            );
          }
          for (const one of [made!, given!]) expect(statuses(one.text)).toBe(SERVED[what]);
        }
      },
    );

    it(`R2 LS: ${what}: nor does a small heap die of it`, { timeout: 60_000 }, async () => {
      const outcomes = await Promise.all(
        (["made", "given"] as const).map((kind) => flood(kind, what, 49, 512)),
      );
      for (const { exitCode, text } of outcomes) {
        expect(exitCode).toBeNull();
        expect(statuses(text)).toBe(SERVED[what]);
      }
    });
  }

  it("R2 LS: what is malformed behind the last request does not cost the replies before it", async () => {
    let answer = (): void => {};
    const server = await start((request, response) => {
      if (request.url === "/slow") answer = () => response.end("slow");
      else response.end("fast");
    });
    const client = await rawTo(server);
    client.send(GET("/slow"));
    await until(() => server.snapshot().requestsInFlight === 1);
    client.send(`${GET("/#bad")}garbage\r\n\r\n`);
    await sleep(50);
    client.send("more garbage");
    await sleep(50);
    answer();
    await client.end();
    expect(statuses(client.text)).toBe("200 400");
    expect(server.snapshot().refused).toEqual({ bad_target: 1 });
  });

  it("R2 LS: requests before the last one are still read, and the connection ends for those who stay", async () => {
    const bodies: string[] = [];
    const held: (() => void)[] = [];
    const server = await start(
      (request, response) =>
        void held.push(() => {
          let body = "";
          request.on("data", (chunk: Buffer) => (body += chunk.toString()));
          request.on("end", () => {
            bodies.push(body);
            response.end("ok");
          });
        }),
      { limits: { lingerMs: 200 } },
    );
    const client = await rawTo(server);
    const POST = "POST / HTTP/1.1\r\nhost: svc\r\ncontent-length: 3\r\n\r\nabc";
    client.send(POST.repeat(16) + GET("/17").repeat(1_000));
    await until(() => held.length === 16);
    client.send(GET("/surplus").repeat(1_000));
    await sleep(50);
    for (const read of held) {
      read();
      await sleep(5);
    }
    await client.end();
    expect(bodies).toEqual(Array.from({ length: 16 }, () => "abc"));
    expect(statuses(client.text)).toBe(SERVED.pipelined);
    await until(() => server.snapshot().connections === 0);
  });
});

it("R2 LS: a request without Host is refused, and what comes behind it is not served", async () => {
  const seen: string[] = [];
  const server = await start((request, response) => {
    seen.push(request.url!);
    response.end();
  });
  using client = await rawTo(server);
  client.send(`GET /1 HTTP/1.1\r\nx: y\r\n\r\n${GET("/2")}`);
  await client.end();
  expect(client.text).toMatch(/^HTTP\/1\.1 400 /);
  expect(client.text.match(/HTTP\/1\.1/g)).toHaveLength(1);
  expect(client.text).toMatch(/bad_host/);
  expect(seen).toEqual([]);
});
