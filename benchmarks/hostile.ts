/**
 * Attacks both halves with the corpus of hostile inputs and with mutations of it: over HTTP/1, HTTP/2
 * and gRPC, and with DNS answers, configuration and certificates. What is attacked is a process of its
 * own, beside one of bare Node or grpc-js that gets the same. Also `npm run check:hostile`.
 *
 * `--seconds N` of mutation (60; with `--quick` 15), `--seed N` repeats a run's inputs. A finding is
 * printed with its input as a line of the corpus. `--only SURFACE[:NAME]` plays the surfaces that begin
 * so, and of their corpus the inputs whose names have that part.
 */
import { SURFACES, type Surface } from "./hostile/corpus.ts";
import { attack, attackOf, lanes, type Player } from "./hostile/play.ts";
import { playerOf } from "./hostile/players.ts";
import { Tally } from "./hostile/tally.ts";
import { row, type Options, type Row } from "./report.ts";

export const describe =
  "hostile requests, replies, frames and files: crashes, hangs, memory, desync";

const SECONDS = 60;
const QUICK_SECONDS = 15;
/** Of each surface, so that a fast machine plays no others than a slow one, and a red run can be repeated. */
const QUICK_MUTATIONS = 2_500;
const MEMORY_MB = 64;
/** Each has two processes. The last three, which have no connections to wait for, come when others are over. */
const SURFACES_AT_ONCE = 6;

export async function run({ quick, progress, seconds, seed, only }: Options): Promise<Row[]> {
  const chosen = seed ?? Math.floor(Math.random() * 2 ** 31);
  const mutateMs = 1_000 * (seconds ?? (quick ? QUICK_SECONDS : SECONDS));
  progress(`hostile: --seed ${chosen}`);
  const tally = new Tally(progress);
  const [part = "", name = ""] = only?.split(":") ?? [];
  const surfaces = SURFACES.filter((surface) => surface.startsWith(part));
  const play = async (surface: Surface): Promise<void> => {
    const player: Player = playerOf(surface, tally, chosen);
    const whole = attackOf(surface, mutateMs, chosen, name);
    await attack(player, tally, quick ? { ...whole, maxMutations: QUICK_MUTATIONS } : whole);
  };
  await lanes(SURFACES_AT_ONCE, [...surfaces], play);
  // How much garbage a process holds depends on what else the machine does: too much has to be too much again when
  // the surface is played alone.
  for (const surface of surfaces) {
    const mb = tally.memoryMb.get(surface) ?? 0;
    if (mb <= MEMORY_MB) continue;
    await play(surface);
    tally.memoryMb.set(surface, Math.min(mb, tally.memoryMb.get(surface) ?? mb));
  }
  const lines = surfaces.reduce((sum, surface) => sum + attackOf(surface, 0, 0).corpus.length, 0);
  return [
    row("hostile.crashes", "{crash}", [tally.of("crash")], 0),
    row("hostile.unhandled", "{error}", [tally.of("unhandled")], 0),
    row("hostile.hung", "{input}", [tally.of("hung")], 0),
    row("hostile.memory_mb_over_bare", "MB", [Math.max(0, ...tally.memoryMb.values())], MEMORY_MB),
    row("hostile.desync", "{input}", [tally.of("desync")], 0),
    row("hostile.wrong_verdicts", "{input}", [tally.of("verdict")], 0),
    row("hostile.corpus", "{input}", [lines]),
    row("hostile.kept_mb_over_bare", "MB", [Math.max(0, ...tally.keptMb.values())]),
    ...[...tally.counts].map(([what, count]) => row(`hostile.${what}`, "{input}", [count])),
    ...[...tally.memoryMb].map(([surface, mb]) =>
      row(`hostile.memory_mb_over_bare.${surface}`, "MB", [mb]),
    ),
    ...[...tally.keptMb].map(([surface, mb]) =>
      row(`hostile.kept_mb_over_bare.${surface}`, "MB", [mb]),
    ),
  ];
}
