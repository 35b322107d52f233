/** An identity source for tests, which says what the test says. */
import type { IdentityMaterial, IdentitySink, IdentitySource, PeerFacts } from "@inmesh/core";
import type { TestCa } from "./ca.ts";

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

export const CART = "spiffe://shop/ns/web/sa/cart";
export const ORDERS = "spiffe://shop/ns/web/sa/orders";

type Issued = Record<"cert" | "key" | "ca", string>;

/** Issues certificates that have this id, and no name that anything is called by. */
export function idsOf(ca: TestCa): (uri: string, notAfter?: number) => Issued {
  return (uri, notAfter) => ({
    ...ca.issue({ names: [], uris: [uri], ...(notAfter === undefined ? {} : { notAfter }) }),
    ca: ca.cert,
  });
}

/** A `verifyPeer` that accepts one id. */
export const only =
  (uri: string) =>
  ({ uris }: { uris: readonly string[] }): true | string =>
    uris.includes(uri) ? true : `it is ${uris.join()}, not ${uri}`;
