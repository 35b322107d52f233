/** Attacks a client under test, and a bare one beside it, with upstreams that answer the same. */
import { setTimeout as sleep } from "node:timers/promises";
import { CALL_WITHIN_MS, SLOTS, type Outcome, type Play } from "./calls.ts";
import type { Input, Surface } from "./corpus.ts";
import { stretched } from "./load.ts";
import type { Player } from "./play.ts";
import type { Tally } from "./tally.ts";
import { Target } from "./target.ts";
import { Upstream, type Speaks } from "./upstream.ts";

const CLIENT = new URL("../child/hostile-client.ts", import.meta.url);
/** Three calls one behind the other, and some for a machine that is busy. */
const PLAYED_WITHIN_MS = 3 * CALL_WITHIN_MS + 4_000;

/** What an upstream plays when the calls are over: longer than any input of the corpus takes. */
const STEPS_WITHIN_MS = 3_000;

const AGAIN_AFTER_MS = 500;
const TRIES = 4;

/**
 * Over HTTP/1 what comes behind a pause may come when the next request has been sent: then it is the
 * reply to that, as far as any client can tell. What comes in one write with the end of a reply is not.
 */
function crosses(text: string, speaks: Speaks): boolean {
  return speaks === "http1" && /\{(?:wait|part|pause)/.test(text);
}

function repliedOf({ bad }: Outcome): number {
  return Number(bad.startsWith("replied"));
}

/** A mutation may answer on the stream of a neighbour, which is the upstream's right over HTTP/2. */
function isAnothers(got: string, speaks: Speaks): boolean {
  return speaks === "http1" || /^p\d+-\d+$/.test(got);
}

/** A reply that crossed a request moves those behind it by one, but never into the calls of another input. */
function isOfAnotherInput(got: string, { id }: Play): boolean {
  return /^p\d+-\d+$/.test(got) && !got.startsWith(`${id}-`);
}

export class ClientPlayer implements Player {
  readonly lanes: number = SLOTS;
  readonly #surface: Surface;
  readonly #speaks: Speaks;
  readonly #tally: Tally;
  readonly #script: URL;
  /** Each client has upstreams of its own. */
  readonly #sides = new Map<"mesh" | "bare", { target: Target; upstreams: Upstream[] }>();
  readonly #free: number[] = Array.from({ length: SLOTS }, (_, slot) => slot);
  /** The last input of each slot: what it left behind may be what the next one shows. */
  readonly #last: Input[] = [];
  #played = 0;
  /** The door of the next input. Tries again keep it, so that it depends on the order of the inputs alone. */
  #door: number;

  /** `firstDoor`: the inputs of the corpus come through one door each, so another number is another run. */
  constructor(surface: Surface, tally: Tally, firstDoor = 0, script: URL = CLIENT) {
    this.#door = firstDoor;
    this.#surface = surface;
    this.#speaks = surface.replace("-client", "") as Speaks;
    this.#tally = tally;
    this.#script = script;
  }

  async start(): Promise<void> {
    for (const side of ["mesh", "bare"] as const) {
      const upstreams = Array.from({ length: SLOTS }, () => new Upstream(this.#speaks));
      const ports = await Promise.all(upstreams.map((upstream) => upstream.start()));
      const args = [side, this.#speaks, JSON.stringify(ports)];
      const target = new Target(this.#script, args, (kind, text) => {
        if (side === "mesh") this.#tally.find(kind, this.#surface, text);
        else this.#tally.count("bare_faults");
      });
      this.#sides.set(side, { target, upstreams });
    }
    await Promise.all([...this.#sides.values()].map(({ target }) => target.start()));
  }

  async play(input: Input): Promise<void> {
    const door = this.#door++;
    const slot = this.#free.pop();
    // Those of inputs that were given up are not free yet.
    if (slot === undefined) return sleep(AGAIN_AFTER_MS);
    const about = { slot, id: `p${this.#played++}`, door };
    const before = this.#last[slot];
    this.#last[slot] = input;
    const [mesh] = await Promise.all([
      this.#side("mesh", about, input.text),
      this.#side("bare", about, input.text),
    ]);
    const ended = mesh && (await this.#confirmed(about, input, mesh));
    const lateMs = mesh && (await this.#stillLate(about, input, mesh));
    this.#free.push(slot);
    if (mesh === undefined || ended === undefined) return;
    this.#tally.count(mesh.bad.startsWith("replied") ? "replied" : "refused");
    for (const { id, got } of mesh.good) {
      if (got === undefined) {
        // Over HTTP/2 a connection may have to end with the one beside it; those behind it get another.
        this.#tally.count(id.endsWith("-1") ? "neighbours_failed" : "followers_failed");
      } else if (
        got !== id &&
        (isOfAnotherInput(got, about) || !crosses(input.text, this.#speaks)) &&
        (input.accepted !== undefined || !input.name.endsWith("~") || isAnothers(got, this.#speaks))
      ) {
        const { heard } = this.#sides.get("mesh")!.upstreams[slot]!;
        const what = `call ${id} (way ${door}) got the reply ${JSON.stringify(got.slice(0, 80))}; the hostile one ${mesh.bad}; the upstream heard ${heard.join(", ")}; before it came ${before?.text}`;
        this.#tally.find("desync", this.#surface, what, input);
      }
    }
    if (lateMs !== undefined) {
      const what = `calls with deadlines took ${lateMs.toFixed(0)} ms`;
      this.#tally.find("hung", this.#surface, what, input);
    }
    if (input.accepted !== undefined && repliedOf(ended) !== input.accepted) {
      this.#tally.find("verdict", this.#surface, `the call ended with ${ended.bad}`, input);
    }
  }

  /** A busy machine may have been late with the connection or the reply: believed if it stays so. */
  async #confirmed(about: Play, { text, accepted }: Input, first: Outcome): Promise<Outcome> {
    let last = first;
    for (let tries = 0; tries < TRIES; tries++) {
      if (accepted === undefined || repliedOf(last) === accepted) break;
      await sleep(AGAIN_AFTER_MS);
      await Promise.all([this.#target("mesh").calm(), this.#target("bare").calm()]);
      last = (await this.#side("mesh", { ...about, id: `p${this.#played++}` }, text)) ?? last;
    }
    return last;
  }

  /** How long the calls took where that is beyond their deadlines, and stays so. */
  async #stillLate(about: Play, { text }: Input, { ms }: Outcome): Promise<number | undefined> {
    let tookMs: number | undefined = ms;
    for (let tries = 0; tries < TRIES; tries++) {
      if (tookMs === undefined || tookMs <= stretched(PLAYED_WITHIN_MS)) return undefined;
      await Promise.all([this.#target("mesh").calm(), this.#target("bare").calm()]);
      tookMs = (await this.#side("mesh", { ...about, id: `p${this.#played++}` }, text))?.ms;
    }
    return tookMs;
  }

  #target(side: "mesh" | "bare"): Target {
    return this.#sides.get(side)!.target;
  }

  async #side(side: "mesh" | "bare", about: Play, text: string): Promise<Outcome | undefined> {
    const { target, upstreams } = this.#sides.get(side)!;
    upstreams[about.slot]!.text = text;
    await target.start().catch(() => {});
    const outcome = await target.ask<Outcome>("play", about, 2 * PLAYED_WITHIN_MS);
    const upstream = upstreams[about.slot]!;
    await upstream.over(STEPS_WITHIN_MS);
    // Such as settings that allow nothing: later inputs would not be played at all.
    if (outcome?.good.at(-1)?.got === undefined) await upstream.hangUp();
    return outcome;
  }

  async end(): Promise<void> {
    await Promise.all([...this.#sides.values()].map(({ target }) => target.end()));
  }

  async measure(): Promise<void> {
    const [mesh, bare] = await Promise.all([
      this.#target("mesh").grown(),
      this.#target("bare").grown(),
    ]);
    this.#tally.measured(this.#surface, mesh, bare);
  }

  kill(): void {
    for (const { target, upstreams } of this.#sides.values()) {
      target.kill();
      for (const upstream of upstreams) upstream.close();
    }
  }
}
