/** An attack on one surface: its corpus first, then mutations of it until the time is over. */
import { corpusOf, type Input, type Surface } from "./corpus.ts";
import { stretched } from "./load.ts";
import { mutate } from "./mutate.ts";
import { Random } from "./random.ts";
import type { Tally } from "./tally.ts";

export interface Player {
  /** Inputs that are played at a time. */
  readonly lanes: number;
  start(): Promise<void>;
  /** `patient`: waits until the other side ends things by itself. */
  play(input: Input, patient: boolean): Promise<void>;
  /** Looks for what is left over. */
  end(): Promise<void>;
  /** Writes down what memory it took. */
  measure(): Promise<void>;
  kill(): void;
}

export interface Attack {
  readonly corpus: readonly Input[];
  /** Of mutations, behind the corpus: for so long, and at most so many. */
  readonly mutateMs: number;
  readonly maxMutations?: number;
  readonly seed: number;
}

/** One mutation in so many is waited for. */
const PATIENT_ONE_IN = 12;
/** A single input that takes longer, with all its tries, is given up, and is a finding. */
const INPUT_WITHIN_MS = 180_000;

export async function attack(
  player: Player,
  tally: Tally,
  { corpus, mutateMs, maxMutations = Infinity, seed }: Attack,
): Promise<void> {
  try {
    await player.start();
    await lanes(player.lanes, [...corpus], (input) => one(player, tally, input, true));
    const random = new Random(seed);
    const endsAt = performance.now() + mutateMs;
    let mutations = 0;
    await inLanes(player.lanes, () => {
      if (performance.now() >= endsAt || mutations++ >= maxMutations) return undefined;
      const input = mutate(random.pick(corpus), corpus, random);
      return one(player, tally, input, random.below(PATIENT_ONE_IN) === 0);
    });
    await player.measure();
    await player.end();
  } finally {
    player.kill();
  }
}

/** Does the work on each in so many lanes. */
export async function lanes<T>(
  count: number,
  queue: T[],
  work: (one: T) => Promise<void>,
): Promise<void> {
  await inLanes(count, () => {
    const next = queue.shift();
    return next === undefined ? undefined : work(next);
  });
}

/** Calls `next` in so many lanes until it has nothing more. */
async function inLanes(count: number, next: () => Promise<void> | undefined): Promise<void> {
  const lane = async (): Promise<void> => {
    for (let work = next(); work !== undefined; work = next()) await work;
  };
  await Promise.all(Array.from({ length: count }, lane));
}

async function one(player: Player, tally: Tally, input: Input, patient: boolean): Promise<void> {
  const over = tally.begin(input);
  let late: NodeJS.Timeout | undefined;
  const given = new Promise<void>((resolve) => {
    const startedAt = performance.now();
    const look = (): void => {
      const leftMs = startedAt + stretched(INPUT_WITHIN_MS) - performance.now();
      if (leftMs > 0) {
        late = setTimeout(look, leftMs);
        return;
      }
      const tookMs = performance.now() - startedAt;
      tally.find("hung", input.surface, `not over within ${tookMs.toFixed(0)} ms`, input);
      resolve();
    };
    late = setTimeout(look, INPUT_WITHIN_MS);
  });
  await Promise.race([player.play(input, patient), given]);
  clearTimeout(late);
  over();
}

/** Every surface has its own chance, so that one that is slower changes no other's inputs. */
export function attackOf(surface: Surface, mutateMs: number, seed: number, name = ""): Attack {
  const corpus = corpusOf(surface).filter((input) => input.name.includes(name));
  const own = [...surface].reduce((sum, letter) => Math.imul(sum, 31) + letter.charCodeAt(0), seed);
  return { corpus, mutateMs, seed: own };
}
