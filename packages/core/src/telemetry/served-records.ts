/** What a server is asked for, counted: one record per route, and the number in progress. */
import type { Outcome } from "../call.ts";
import { OVERHEAD_DURATION } from "./endpoint-instruments.ts";
import { CALL_ACTIVE } from "./instruments.ts";
import { ServedRecord } from "./record.ts";
import type { Histogram, Telemetry } from "./telemetry.ts";

export class ServedRecords {
  readonly #telemetry: Telemetry;
  readonly #service: string;
  readonly #protocol: string;
  readonly #inFlight: () => number;
  readonly #overhead: Histogram;
  #removeActive: (() => void) | undefined = undefined;
  readonly #records = new Map<string, ServedRecord>();

  /** `inFlight`: requests in progress. */
  constructor(telemetry: Telemetry, service: string, protocol: string, inFlight: () => number) {
    this.#telemetry = telemetry;
    this.#service = service;
    this.#protocol = protocol;
    this.#inFlight = inFlight;
    this.#overhead = telemetry.histogram(OVERHEAD_DURATION, { direction: "inbound" });
    this.open();
  }

  /** The server takes requests; again, if it had closed. */
  open(): void {
    const labels = { service: this.#service, protocol: this.#protocol, direction: "inbound" };
    this.#removeActive ??= this.#telemetry.gauge(CALL_ACTIVE, labels, this.#inFlight);
  }

  /** A request, one of a sample, came to layers and handler after so long. */
  begun(ms: number): void {
    this.#overhead.record(ms / 1_000);
  }

  /** `route`: of a closed set. `code` is HTTP-like, see ServedRecord. */
  ended(
    route: string,
    outcome: Outcome,
    code: number,
    reason: string | undefined,
    elapsedMs: number,
    traceId: string | undefined,
  ): void {
    let record = this.#records.get(route);
    if (record === undefined) {
      const labels = { service: this.#service, route, protocol: this.#protocol };
      record = new ServedRecord(this.#telemetry, labels);
      this.#records.set(route, record);
    }
    record.ended(outcome, code, reason, elapsedMs, traceId);
  }

  /** The server has closed. */
  close(): void {
    this.#removeActive?.();
    this.#removeActive = undefined;
  }
}
