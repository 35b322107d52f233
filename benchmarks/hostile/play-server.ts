/** Attacks a server under test, and the bare one beside it with the same bytes. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Input, Surface } from "./corpus.ts";
import { clientSteps } from "./frames.ts";
import type { SeenCall } from "./grpc-service.ts";
import { GONE_WITHIN_MS } from "./limits.ts";
import { stretched } from "./load.ts";
import { bytesOf, stepsOf, type Step } from "./notation.ts";
import type { Player } from "./play.ts";
import { disagreement, readRequests, sha1, type Seen } from "./strict-http1.ts";
import { readStreams, type Stream } from "./strict-http2.ts";
import type { Tally } from "./tally.ts";
import { Target } from "./target.ts";
import { Wire } from "./wire.ts";

interface Connection {
  readonly seen: readonly (Seen & SeenCall)[];
  readonly received: Buffer;
  /** Of a patient one, which the server did not end: how long it waited. */
  readonly openMs: number | undefined;
}

const POLL_MS = 250;
/** What a busy machine can cause as well is looked at so often again before it is believed. */
const TRIES = 4;
const PATIENT_TRIES = 2;
const SLOW_MS = 500;
const SETTLE_MS = 6_000;

export interface ServerScripts {
  /** Of `child/`, or a server that is vulnerable on purpose. */
  readonly mesh: URL;
  readonly bare: URL;
  readonly args: readonly string[];
}

const CHILDREN = new URL("../child/", import.meta.url);

export function scriptsOf(surface: Surface): ServerScripts {
  const name = surface === "grpc-server" ? "hostile-grpc-server.ts" : "hostile-server.ts";
  const script = new URL(name, CHILDREN);
  return { mesh: script, bare: script, args: [surface.replace("-server", "")] };
}

export class ServerPlayer implements Player {
  readonly lanes = 12;
  readonly #surface: Surface;
  readonly #tally: Tally;
  readonly #mesh: Target;
  readonly #bare: Target;
  /** Played so far, by the name of their connection. */
  readonly #inputs = new Map<string, Input>();

  constructor(surface: Surface, tally: Tally, scripts: ServerScripts = scriptsOf(surface)) {
    this.#surface = surface;
    this.#tally = tally;
    const { mesh, bare, args } = scripts;
    this.#mesh = new Target(mesh, ["mesh", ...args], (kind, text) =>
      tally.find(kind, surface, text),
    );
    this.#bare = new Target(bare, ["bare", ...args], () => tally.count("bare_faults"));
  }

  async start(): Promise<void> {
    await Promise.all([this.#mesh.start(), this.#bare.start()]);
  }

  /** `patient`: the server must end the connection by itself. */
  async play(input: Input, patient: boolean): Promise<void> {
    const http1 = this.#surface === "http1-server";
    const steps = http1 ? stepsOf(input.text) : clientSteps(input.text);
    const [mesh, bare] = await Promise.all([
      this.#connection(this.#mesh, steps, input, patient),
      this.#connection(this.#bare, steps, input, false),
    ]);
    if (mesh === undefined) return;
    this.#countReply(mesh.received);
    if (mesh.openMs !== undefined) await this.#stillOpen(mesh.openMs, steps, input);
    const why = this.#disagreement(mesh.seen, bytesOf(steps));
    if (why !== undefined) this.#tally.find("desync", this.#surface, why, input);
    else if (http1 && bare !== undefined && (await this.#beyondBare(mesh, bare, steps, input))) {
      this.#tally.find(
        "desync",
        this.#surface,
        "the handler got a request that bare Node does not see",
        input,
      );
    }
    if (input.accepted === undefined) return;
    let whole = wholeOf(mesh);
    // On a busy machine a limit of time can come first: believed if it stays so with more and more time.
    for (let tries = 1; tries <= TRIES && whole !== input.accepted; tries++) {
      await Promise.all([this.#mesh.calm(), this.#bare.calm()]);
      const again = await this.#connection(this.#mesh, steps, input, patient, tries * SLOW_MS);
      if (again !== undefined) whole = wholeOf(again);
    }
    if (whole !== input.accepted) {
      const what = `${whole} whole requests reached the handler, not ${input.accepted}`;
      this.#tally.find("verdict", this.#surface, what, input);
    }
  }

  async #connection(
    target: Target,
    steps: readonly Step[],
    input: Input,
    patient: boolean,
    quietMs?: number,
  ): Promise<Connection | undefined> {
    await target.start().catch(() => {});
    const wire = await Wire.to(target.port, this.#surface !== "http1-server");
    if (wire === undefined) return undefined;
    const { peer } = wire;
    this.#inputs.set(peer, input);
    await wire.play(steps);
    await wire.quiet(quietMs);
    const openMs = patient ? await this.#openAfterMs(target, wire, peer) : undefined;
    const seenByServer = await target.ask<Connection & { open: boolean }>("seen", peer);
    wire.socket.destroy();
    return seenByServer && { seen: seenByServer.seen, received: wire.received, openMs };
  }

  /** A busy machine is late with every limit of time: believed if it stays so. */
  async #stillOpen(firstMs: number, steps: readonly Step[], input: Input): Promise<void> {
    let openMs: number | undefined = firstMs;
    for (let tries = 0; tries < PATIENT_TRIES; tries++) {
      await Promise.all([this.#mesh.calm(), this.#bare.calm()]);
      const again = await this.#connection(this.#mesh, steps, input, true);
      openMs = again?.openMs;
      if (openMs === undefined) return;
    }
    const what = `the connection is open ${openMs.toFixed(0)} ms after its last byte`;
    this.#tally.find("hung", this.#surface, what, input);
  }

  /** The connection ends by the server's own limits, though this client keeps it. Undefined: it did. */
  async #openAfterMs(target: Target, wire: Wire, peer: string): Promise<number | undefined> {
    const startedAt = performance.now();
    while (!wire.closed && performance.now() - startedAt < stretched(GONE_WITHIN_MS)) {
      // A client that does not read does not hear of the end either: the server knows.
      if (wire.unread && (await target.ask<{ open: boolean }>("is-open", peer))?.open === false)
        return undefined;
      await sleep(POLL_MS);
    }
    return wire.closed ? undefined : performance.now() - startedAt;
  }

  #countReply(received: Buffer): void {
    const http1 = this.#surface === "http1-server";
    const status = /^HTTP\/1\.1 (\d)/.exec(received.toString("latin1", 0, 12))?.[1];
    if (!http1) this.#tally.count(received.length > 200 ? "replied" : "refused");
    else this.#tally.count(status === "2" ? "replied" : "refused");
  }

  #disagreement(seen: Connection["seen"], bytes: Buffer): string | undefined {
    if (this.#surface === "http1-server") return disagreement(seen, readRequests(bytes));
    const streams = readStreams(bytes);
    // What cannot be read cannot be compared.
    if (streams.some(({ unread }) => unread)) return undefined;
    return this.#surface === "grpc-server"
      ? callDisagreement(seen, streams)
      : disagreement(seen, streams);
  }

  /** Every whole request that the handler got is one that bare Node's handler got. */
  async #beyondBare(
    mesh: Connection,
    bare: Connection,
    steps: readonly Step[],
    input: Input,
  ): Promise<boolean> {
    if (steps.some(({ kind }) => kind !== "bytes") || isWithin(mesh.seen, bare.seen)) return false;
    // Bare Node is busy for seconds with the floods among the inputs, and has died of an input now and then.
    // One that answers nothing is no witness; what it would wait for is the strict reader's to find.
    for (let tries = 0; tries < TRIES; tries++) {
      const again = await this.#connection(this.#bare, steps, input, false, SLOW_MS);
      if (again === undefined || again.received.length === 0) return false;
      if (isWithin(mesh.seen, again.seen)) return false;
    }
    return true;
  }

  /** Nothing is in progress once all connections are gone, and it closes. */
  async end(): Promise<void> {
    const startedAt = performance.now();
    for (;;) {
      const open = await this.#mesh.ask<{
        handling: number;
        inFlight: number;
        connections: number;
        /** Names of the connections whose requests are in progress. */
        peers?: readonly string[];
      }>("open", null);
      if (open === undefined) break;
      if (open.handling === 0 && open.inFlight === 0 && open.connections === 0) break;
      if (performance.now() - startedAt > stretched(SETTLE_MS)) {
        const [peer] = open.peers ?? [];
        this.#tally.find(
          "hung",
          this.#surface,
          `all clients are gone, and left are ${JSON.stringify(open)}`,
          peer === undefined ? undefined : this.#inputs.get(peer),
        );
        break;
      }
      await sleep(POLL_MS);
    }
    await Promise.all([this.#mesh.end(), this.#bare.end()]);
  }

  async measure(): Promise<void> {
    const [mesh, bare] = await Promise.all([this.#mesh.grown(), this.#bare.grown()]);
    this.#tally.measured(this.#surface, mesh, bare);
  }

  kill(): void {
    this.#mesh.kill();
    this.#bare.kill();
  }
}

function wholeOf({ seen }: Connection): number {
  return seen.filter((one) => one.whole).length;
}

function isWithin(seen: readonly Seen[], bare: readonly Seen[]): boolean {
  let at = 0;
  for (const one of seen) {
    if (!one.whole) continue;
    while (
      at < bare.length &&
      !(bare[at]!.method === one.method && (!bare[at]!.whole || bare[at]!.sha1 === one.sha1))
    )
      at++;
    if (at === bare.length) return false;
    at++;
  }
  return true;
}

/** Of gRPC: the messages of each call are the first of those that were sent on a stream of that path. */
function callDisagreement(
  seen: readonly SeenCall[],
  streams: readonly Stream[],
): string | undefined {
  const left = new Set(streams);
  for (const one of seen) {
    const found = [...left].find((stream) => stream.target === one.path && isStartOf(one, stream));
    if (found === undefined)
      return `a call of ${one.path} with ${one.messages.length} messages${one.whole ? "" : ", cut"} is none that was sent`;
    left.delete(found);
  }
  return undefined;
}

function isStartOf({ messages, whole }: SeenCall, stream: Stream): boolean {
  const sent: string[] = [];
  const { body } = stream;
  for (let at = 0; at + 5 <= body.length;) {
    const length = body.readUInt32BE(at + 1);
    // Compressed: not compared.
    if (body[at] !== 0) return true;
    if (at + 5 + length > body.length) break;
    sent.push(sha1(body.subarray(at + 5, at + 5 + length)));
    at += 5 + length;
  }
  // A call of one message may begin as soon as its message is here.
  const enough = !whole || sent.length === messages.length;
  return enough && messages.every((one, i) => one === sent[i]);
}
