/**
 * Compares processes that do the same work in two ways. All run at once and take turns of some ten
 * milliseconds, forth and back, so that whatever else the machine does meets both; a sample is
 * a round of turns. Fresh processes a few times over, because the same code is not compiled alike twice.
 */
import { quantile } from "./report.ts";

/** Something that takes turns: a process, or two that belong together. */
export interface Player<M extends string> {
  /** Does one turn of work, all of one size, and gives what it measured of it. */
  turn(): Promise<Readonly<Record<M, number>>>;
  close(): void;
}

/** Fresh sets of processes, rounds with each, turns in a round; `warmTurns` before the first. */
export interface Amounts {
  readonly sets: number;
  readonly rounds: number;
  readonly turns: number;
  readonly warmTurns: number;
}

export type Samples<K extends string, M extends string> = Record<K, Record<M, number>[]>;

/** The rounds of every kind, in the order they were played: those of one index belong together. */
export async function inTurns<K extends string, M extends string>(
  kinds: readonly K[],
  { sets, rounds, turns, warmTurns }: Amounts,
  start: (kind: K) => Promise<Player<M>>,
  progress: (set: number, samples: Samples<K, M>) => void,
): Promise<Samples<K, M>> {
  const samples = Object.fromEntries(kinds.map((kind) => [kind, []])) as unknown as Samples<K, M>;
  for (let set = 1; set <= sets; set++) {
    const players: (readonly [K, Player<M>])[] = [];
    try {
      for (const kind of kinds) players.push([kind, await start(kind)]);
      await round(players, warmTurns);
      for (let i = 0; i < rounds; i++) {
        for (const [kind, mean] of await round(players, turns)) samples[kind].push(mean);
      }
    } finally {
      for (const [, player] of players) player.close();
    }
    progress(set, samples);
  }
  return samples;
}

async function round<K extends string, M extends string>(
  players: readonly (readonly [K, Player<M>])[],
  turns: number,
): Promise<Map<K, Record<M, number>>> {
  const means = new Map<K, Record<M, number>>();
  for (let turn = 0; turn < turns; turn++) {
    for (const [kind, player] of order(players, turn)) {
      const measured = await player.turn();
      const mean = means.get(kind) ?? ({} as Record<M, number>);
      for (const metric of Object.keys(measured) as M[]) {
        mean[metric] = (mean[metric] ?? 0) + measured[metric] / turns;
      }
      means.set(kind, mean);
    }
  }
  return means;
}

/**
 * Forth and back, and each pair of turns begins with another player: who plays twice in a row finds the
 * caches warm, and of more than two only the first and the last one ever would.
 */
function order<P>(players: readonly P[], turn: number): readonly P[] {
  const first = Math.floor(turn / 2) % players.length;
  const rotated = [...players.slice(first), ...players.slice(0, first)];
  return turn % 2 === 0 ? rotated : rotated.toReversed();
}

/** The median of each set of `rounds` samples: what a set of processes says, apart from single turns. */
export function setMedians(samples: readonly number[], { rounds }: Amounts): number[] {
  const medians: number[] = [];
  for (let i = 0; i < samples.length; i += rounds) {
    medians.push(quantile(samples.slice(i, i + rounds), 0.5));
  }
  return medians;
}

/** What one of a pair measured as a share of the other's, round by round. */
export function ratios<K extends string, M extends string>(
  samples: Samples<K, M>,
  kind: K,
  base: K,
  metric: M,
): number[] {
  return samples[kind].map((one, i) => one[metric] / samples[base][i]![metric]);
}
