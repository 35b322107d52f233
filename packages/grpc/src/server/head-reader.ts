/**
 * What a caller says about its call, in the call's metadata: read once, before the handler, which
 * does not see what was meant for us, nor what cannot be verified.
 */
import type { Metadata } from "@grpc/grpc-js";
import {
  grantedPriority,
  isClaim,
  parseCount,
  type Trust,
  type ServedRequest,
  type SharedRefusalReason,
} from "@inmesh/core/spi";
import {
  BAGGAGE,
  HOPS,
  PREVIOUS_ATTEMPTS,
  PRIORITY,
  TRACEPARENT,
  TRACESTATE,
} from "../metadata.ts";
import type { GrpcServerLimits } from "./limits.ts";

/** What a call says, and in how many bytes of metadata. */
export interface Head extends ServedRequest {
  headBytes: number;
}

/** HTTP/2 counts an entry with this much beside its name and value. */
const ENTRY_BYTES = 32;

export class HeadReader {
  readonly #limits: GrpcServerLimits;
  /** Of the connection whose call is being read. */
  #trust!: Trust;
  readonly #keep: ReadonlySet<string>;

  /** `keep`: lower-case names of claims that stay, because something in front vouches for them. */
  constructor(limits: GrpcServerLimits, keep: ReadonlySet<string>) {
    this.#limits = limits;
    this.#keep = keep;
  }

  /** Node joins what came twice by a comma, so a key that contradicts itself is not understood. */
  read(served: Head, metadata: Metadata, trust: Trust): SharedRefusalReason | undefined {
    this.#trust = trust;
    const first = metadata.getMap();
    const { maxMetadataBytes, maxMetadataCount, maxHops } = this.#limits;
    let count = 0;
    let bytes = 0;
    for (const key in first) {
      const value = first[key]!;
      if (++count > maxMetadataCount) return "too_many_headers";
      bytes += key.length + value.length + ENTRY_BYTES;
      // Only binary values come as several; text is one.
      if (typeof value !== "string") bytes += this.#further(metadata, key);
      if (bytes > maxMetadataBytes) return "header_too_large";
      // The first letter excludes nearly all keys that do not concern us.
      switch (key.charCodeAt(0)) {
        case 98: // b
          if (key === BAGGAGE && this.#dropsBaggage(value)) metadata.remove(key);
          break;
        case 103: // g
          if (key === PREVIOUS_ATTEMPTS) {
            const isCount = this.#attempt(served, String(value));
            const shown = this.#trust.showsAttempt || this.#keep.has(key);
            if (!isCount || !shown) metadata.remove(key);
          }
          break;
        case 116: // t
          if (key === TRACEPARENT) served.rawTraceparent = String(value);
          else if (key === TRACESTATE) this.#tracestate(served, String(value));
          break;
        case 108: // l
        case 115: // s
        case 120: // x
          if (!isClaim(key) || this.#keep.has(key)) break;
          this.#control(served, key, String(value));
          metadata.remove(key);
          break;
        default:
      }
    }
    served.headBytes = bytes;
    return served.hops > maxHops ? "loop" : undefined;
  }

  #further(metadata: Metadata, key: string): number {
    const values = metadata.get(key);
    let bytes = 0;
    for (let i = 1; i < values.length; i++) bytes += key.length + values[i]!.length + ENTRY_BYTES;
    return bytes;
  }

  #dropsBaggage(value: string | Buffer): boolean {
    if (value.length > this.#limits.maxBaggageBytes) return true;
    return !this.#trust.baggage && !this.#keep.has(BAGGAGE);
  }

  /** False: it is no number of attempts. */
  #attempt(served: ServedRequest, text: string): boolean {
    const count = parseCount(text, 3);
    if (this.#trust.attempt) served.attempt = Math.max(0, count) + 1;
    return count >= 0;
  }

  #control(served: ServedRequest, key: string, text: string): void {
    if (key === PRIORITY) served.priority = grantedPriority(text, this.#trust);
    else if (key === HOPS) {
      served.hops = Math.max(0, parseCount(text, 3));
    }
  }

  #tracestate(served: ServedRequest, text: string): void {
    if (text.length <= this.#limits.maxTracestateBytes) served.rawTracestate = text;
  }
}
