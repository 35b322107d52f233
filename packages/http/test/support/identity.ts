/** An identity source for tests, which says what the test says. */
import type { IdentityMaterial, IdentitySink, IdentitySource, PeerFacts } from "@inmesh/core";

export class GivenIdentity implements IdentitySource {
  readonly name: string;
  readonly verifyPeer?: (peer: PeerFacts) => true | string;
  /** Of each `watch`; the last is in use. */
  readonly sinks: IdentitySink[] = [];
  stops = 0;
  #said: IdentityMaterial | undefined;

  /** `first`: known at once. */
  constructor(
    name: string,
    first?: IdentityMaterial,
    verifyPeer?: (peer: PeerFacts) => true | string,
  ) {
    this.name = name;
    this.#said = first;
    if (verifyPeer !== undefined) this.verifyPeer = verifyPeer;
  }

  watch(sink: IdentitySink): { stop(): void } {
    this.sinks.push(sink);
    if (this.#said !== undefined) sink.replace(this.#said);
    return { stop: () => void this.stops++ };
  }

  give(material: IdentityMaterial): void {
    this.#said = material;
    this.sinks.at(-1)?.replace(material);
  }
}
