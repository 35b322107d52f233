/**
 * Header fields (gRPC: metadata) of one attempt. They replace what the call would send under the same
 * names, and no other attempt of the call sends them: a child `traceparent`, for one, names its attempt.
 */
import { CONNECTION_FIELDS, TOKEN } from "./field-names.ts";
import type { HeaderChanges } from "./header-changes.ts";

/** Enough for trace context and a few of one's own, and no way to make a head of any size. */
const MAX_NAMES = 16;
const MAX_BYTES = 8_192;
/** What metadata of gRPC takes as well. */
const VALUE = /^[\x20-\x7e]*$/;
const OURS = /^(?:x-mesh-|grpc-)/;
/** They belong to the body, as others do to the connection. */
const OF_BODY = new Set(["content-type", "expect"]);

export class AttemptHeaders implements HeaderChanges {
  readonly taken: Set<string> = new Set();
  readonly given: string[] = [];
  #bytes = 0;

  /** Throws a TypeError for a name or value that cannot be sent, and above 16 names or 8,192 bytes. */
  set(name: string, value: string): void {
    const lower = checkedName(name);
    if (typeof value !== "string" || !VALUE.test(value)) {
      throw new TypeError(`the value of ${lower} must be a text of printable ASCII`);
    }
    const at = this.#indexOf(lower);
    const bytes = at < 0 ? lower.length + value.length : value.length - this.given[at]!.length;
    if ((at < 0 && this.taken.size === MAX_NAMES) || this.#bytes + bytes > MAX_BYTES) {
      throw new TypeError(
        `${lower}: an attempt takes ${MAX_NAMES} header fields of its own, with ${MAX_BYTES} bytes in all`,
      );
    }
    this.#bytes += bytes;
    if (at >= 0) this.given[at] = value;
    else {
      this.taken.add(lower);
      this.given.push(lower, value);
    }
  }

  /** By lower-case name. */
  get(lower: string): string | undefined {
    const at = this.#indexOf(lower);
    return at < 0 ? undefined : this.given[at];
  }

  /** Of the value of that name; -1 if it has none yet. */
  #indexOf(lower: string): number {
    for (let i = 0; i < this.given.length; i += 2) if (this.given[i] === lower) return i + 1;
    return -1;
  }
}

function checkedName(name: unknown): string {
  if (typeof name !== "string" || !TOKEN.test(name)) {
    throw new TypeError("the name of a header field must be a text such as traceparent");
  }
  const lower = name.toLowerCase();
  if (OURS.test(lower)) {
    throw new TypeError(`${lower} belongs to the mesh or to gRPC`);
  }
  if (CONNECTION_FIELDS.has(lower) || OF_BODY.has(lower)) {
    throw new TypeError(`${lower} belongs to the connection, the body or the service`);
  }
  if (lower.endsWith("-bin")) {
    throw new TypeError(`${lower} is binary metadata of gRPC, and only texts can be set here`);
  }
  return lower;
}
