/**
 * The load: open loop, on a fixed schedule. A request is sent when its time has come, whether or
 * not earlier ones were answered, and its latency counts from that time, so a stall of client or
 * server is seen by every request it delays.
 */

/** One request and how it ended. */
export interface Sample {
  /** When it was due, milliseconds since the start of the load. */
  readonly dueAt: number;
  readonly endedAt: number;
  readonly post: boolean;
  readonly ok: boolean;
  /** `host:port` that answered or failed last; empty if none was chosen. */
  readonly endpoint: string;
}

export interface Answer {
  readonly status: number;
  readonly endpoint: string;
}

/** Sends one request and reads the answer to its end. */
export type Send = (method: "GET" | "POST", path: string, headers: Headers) => Promise<Answer>;
export type Headers = Readonly<Record<string, string>>;

export interface Side {
  readonly name: "inmesh" | "round_robin";
  /** Of its request ids. */
  readonly idPrefix: string;
  readonly send: Send;
  /** In order of their end. */
  readonly samples: Sample[];
  /** Is given each of them as well. */
  onSample?: (sample: Sample) => void;
}

/** Per side. */
export const REQUESTS_PER_SECOND = 500;
const EVERY_MS = 1000 / REQUESTS_PER_SECOND;
/** One of ten requests is a POST. */
const TEN = 10;

/** Its place moves by one each ten, or round robin over five would send all POSTs to one server. */
function isPost(n: number): boolean {
  return n % TEN === Math.floor(n / TEN) % TEN;
}

/** Failures of a client that knows where they happened. */
export function endpointOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("endpoint" in error)) return "";
  return typeof error.endpoint === "string" ? error.endpoint : "";
}

/**
 * Runs all sides at the same time, each with its own requests, a fraction of a step apart. Resolves
 * with the longest delay of the schedule itself, once every request has ended.
 */
export async function run(
  sides: readonly Side[],
  seconds: number,
  clock: () => number,
  signal: AbortSignal,
): Promise<number> {
  const count = Math.round((seconds * 1000) / EVERY_MS) * sides.length;
  const pending = new Set<Promise<void>>();
  let next = 0;
  let latestMs = 0;
  await new Promise<void>((resolve) => {
    const tick = (): void => {
      const now = clock();
      for (; next < count && !signal.aborted; next++) {
        const dueAt = (next * EVERY_MS) / sides.length;
        if (dueAt > now) break;
        latestMs = Math.max(latestMs, now - dueAt);
        const number = Math.floor(next / sides.length);
        const one = sendOne(sides[next % sides.length]!, number, dueAt, clock);
        pending.add(one);
        void one.then(() => pending.delete(one));
      }
      if (next < count && !signal.aborted) setTimeout(tick, 1);
      else resolve();
    };
    tick();
  });
  if (!signal.aborted) await Promise.all(pending);
  return latestMs;
}

async function sendOne(
  side: Side,
  number: number,
  dueAt: number,
  clock: () => number,
): Promise<void> {
  const post = isPost(number);
  let ok = false;
  let endpoint = "";
  try {
    const id = `${side.idPrefix}${number}`;
    const answer = await side.send(post ? "POST" : "GET", "/orders", { "x-request-id": id });
    ok = answer.status >= 200 && answer.status < 300;
    endpoint = answer.endpoint;
  } catch (error) {
    endpoint = endpointOf(error);
  }
  const sample = { dueAt, endedAt: clock(), post, ok, endpoint };
  side.samples.push(sample);
  side.onSample?.(sample);
}
