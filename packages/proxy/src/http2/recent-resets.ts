/** Streams of a connection that were reset lately: what is on its way for them is no fault. */

const REMEMBERED = 256;

export class RecentResets {
  /** Undefined: there were none. Negative: by the peer. */
  #ids: Int32Array | undefined = undefined;
  #at = 0;

  /** This side has reset it. */
  byUs(id: number): void {
    this.#note(id);
  }

  byPeer(id: number): void {
    this.#note(-id);
  }

  /** Both sides have: nothing more of it is on its way. */
  byPeerToo(id: number): void {
    const at = this.#ids?.indexOf(id) ?? -1;
    if (at >= 0) this.#ids![at] = -id;
  }

  #note(id: number): void {
    this.#ids ??= new Int32Array(REMEMBERED);
    this.#ids[this.#at] = id;
    this.#at = (this.#at + 1) % REMEMBERED;
  }

  /** Undefined: not one of these. */
  whose(id: number): "ours" | "peer" | undefined {
    const ids = this.#ids;
    if (ids === undefined) return undefined;
    if (ids.includes(id)) return "ours";
    return ids.includes(-id) ? "peer" : undefined;
  }
}
