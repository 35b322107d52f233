/**
 * Why a name could not be looked up. It says "we do not know", never "there are none": an empty
 * answer is an answer, not an error (faults.md D1, D2).
 */

export type DnsErrorCode =
  | "servfail"
  | "refused"
  | "timeout"
  | "malformed"
  /** No server could be reached: a socket error. */
  | "unreachable"
  /** The caller gave up. */
  | "cancelled";

export class DnsError extends Error {
  override readonly name = "DnsError";
  readonly code: DnsErrorCode;

  constructor(code: DnsErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
