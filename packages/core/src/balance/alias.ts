/** Draws an index in proportion to its weight in O(1) (Vose's alias method, IEEE TSE 17(9), 1991). */
export class AliasTable {
  readonly #n: number;
  readonly #keep: Float64Array;
  readonly #alias: Uint32Array;

  /** Weights above 0, at least one. O(n). */
  constructor(weights: readonly number[]) {
    const n = weights.length;
    const sum = weights.reduce((a, b) => a + b, 0);
    const scaled = weights.map((weight) => (weight * n) / sum);
    const small: number[] = [];
    const large: number[] = [];
    scaled.forEach((weight, i) => (weight < 1 ? small : large).push(i));
    this.#n = n;
    this.#keep = new Float64Array(n).fill(1);
    this.#alias = Uint32Array.from({ length: n }, (_, i) => i);
    while (small.length > 0 && large.length > 0) {
      const poor = small.pop()!;
      const rich = large.pop()!;
      this.#keep[poor] = scaled[poor]!;
      this.#alias[poor] = rich;
      scaled[rich] = scaled[rich]! + scaled[poor]! - 1;
      (scaled[rich] < 1 ? small : large).push(rich);
    }
  }

  /** `u` uniform in [0, 1) serves twice: its whole part chooses the column, the rest decides in it. */
  draw(u: number): number {
    const x = u * this.#n;
    const i = Math.floor(x);
    return x - i < this.#keep[i]! ? i : this.#alias[i]!;
  }
}
