/**
 * How full the queues, caches and tables of a mesh are: every one has a limit (faults.md B1), and this says how
 * far it is. Read with each scrape.
 */
import { BOUNDED_LIMIT, BOUNDED_SIZE } from "./process-instruments.ts";
import type { Telemetry } from "./telemetry.ts";

export interface Fill {
  readonly size: number;
  readonly limit: number;
}

const NOTHING: Fill = { size: 0, limit: 0 };

/** Of several alike the fullest: that one is the first to refuse something. */
export function fullest(all: Iterable<Fill>): Fill {
  let most: Fill | undefined;
  for (const one of all) {
    if (most === undefined || ratioOf(one) > ratioOf(most)) most = one;
  }
  return most ?? NOTHING;
}

function ratioOf({ size, limit }: Fill): number {
  return limit === 0 ? 0 : size / limit;
}

/** Those of one mesh, by name. Several may be put under one name. */
export class Bounds {
  readonly #telemetry: Telemetry;
  readonly #read = new Map<string, Set<() => Fill>>();
  readonly #gauges: (() => void)[] = [];

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry;
  }

  /** `structure`: of a closed set. Gives the function that takes it away. */
  add(structure: string, read: () => Fill): () => void {
    let all = this.#read.get(structure);
    if (all === undefined) {
      const added = (all = new Set());
      this.#read.set(structure, added);
      const most = (): Fill => fullest([...added].map((one) => one()));
      this.#gauges.push(
        this.#telemetry.gauge(BOUNDED_SIZE, { structure }, () => most().size),
        this.#telemetry.gauge(BOUNDED_LIMIT, { structure }, () => most().limit),
      );
    }
    all.add(read);
    return () => void all.delete(read);
  }

  close(): void {
    for (const remove of this.#gauges.splice(0)) remove();
  }
}
