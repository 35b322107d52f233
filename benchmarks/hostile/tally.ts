/** What an attack found, and what it counted. */
import { lineOf, type Input } from "./corpus.ts";
import type { Grown } from "./target.ts";

export type Kind = "crash" | "unhandled" | "hung" | "desync" | "verdict";

export interface Finding {
  readonly kind: Kind;
  readonly surface: string;
  readonly what: string;
  /** The input, or those that were under way, as lines of the corpus. */
  readonly lines: readonly string[];
}

function grown({ mostMb, keptMb }: Grown): string {
  return `grew by ${mostMb.toFixed(0)} MB, kept ${keptMb?.toFixed(1) ?? "?"} MB`;
}

const MAX_TEXT = 1_500;
const MAX_LINE = 600;

export class Tally {
  readonly findings: Finding[] = [];
  /** `inputs`, `replied`, `refused` and what else a player counts. */
  readonly counts = new Map<string, number>();
  /** MB by surface that the process grew by beyond the bare one. */
  readonly memoryMb = new Map<string, number>();
  /** MB by surface that stayed alive beyond what the bare one kept. */
  readonly keptMb = new Map<string, number>();
  readonly #underWay = new Set<Input>();
  readonly #progress: (line: string) => void;

  constructor(progress: (line: string) => void) {
    this.#progress = progress;
  }

  count(what: string, by = 1): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + by);
  }

  /** The input is under way until what is given back has been called. */
  begin(input: Input): () => void {
    this.count("inputs");
    this.#underWay.add(input);
    return () => this.#underWay.delete(input);
  }

  /** Without an input: one of those under way. */
  find(kind: Kind, surface: string, what: string, input?: Input): void {
    const all = [...this.#underWay].filter((one) => one.surface === surface);
    const lines = (input === undefined ? all : [input]).map((one) =>
      lineOf(one).slice(0, MAX_LINE),
    );
    this.findings.push({ kind, surface, what: what.slice(0, MAX_TEXT), lines });
    this.#progress(`hostile: ${surface}: ${kind}: ${what.slice(0, MAX_TEXT)}`);
    for (const line of lines) this.#progress(`  ${line}`);
  }

  /** What a process and the bare one beside it grew by. */
  measured(surface: string, mesh: Grown, bare: Grown): void {
    this.memoryMb.set(surface, Math.max(0, mesh.mostMb - bare.mostMb));
    if (mesh.keptMb !== undefined && bare.keptMb !== undefined)
      this.keptMb.set(surface, Math.max(0, mesh.keptMb - bare.keptMb));
    this.#progress(`hostile: ${surface}: ${grown(mesh)}; bare ${grown(bare)}`);
  }

  of(kind: Kind): number {
    return this.findings.filter((one) => one.kind === kind).length;
  }
}
