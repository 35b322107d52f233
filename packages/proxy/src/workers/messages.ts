/**
 * What the process that starts workers asks them, over the IPC channel that it has to each, and what they answer. Only
 * workers of the same program are at the other end, so nothing is checked here. Messages are structured clones.
 */
import type { TapEvent, TapOptions } from "@inmesh/core";
import type { FailureCode, Readiness } from "@inmesh/core/inspect";
import type { Series } from "@inmesh/core/spi/telemetry";
import type { Asked } from "@inmesh/http/spi/admin";
import type { ListenerConfig } from "../serve/section.ts";

/** What of a running listener is shown. */
export interface ShownListener {
  readonly name: string;
  /** As bound. */
  readonly address: string;
  readonly config: ListenerConfig;
}

/** A worker serves, or its configuration has changed. */
export interface Serving {
  readonly what: "serving";
  readonly listeners: readonly ShownListener[];
  /** Names of services. */
  readonly services: readonly string[];
  /** What `proxy.drainGrace` of the configuration says. */
  readonly drainGraceMs: number;
}

/** Each with what is answered to it. */
export interface Questions {
  readonly ready: { readonly asks: undefined; readonly answer: Readiness };
  /** One of the API's, whose answer is JSON. */
  readonly api: { readonly asks: Asked; readonly answer: Uint8Array };
  readonly series: {
    readonly asks: undefined;
    readonly answer: readonly Series[];
  };
  /** Opens a tap. The answer is its number. */
  readonly tap: { readonly asks: TapOptions; readonly answer: number };
  /** The events of the tap of that number: at least one, or none when it has ended. */
  readonly events: { readonly asks: number; readonly answer: readonly TapEvent[] };
  readonly endTap: { readonly asks: number; readonly answer: undefined };
}

export type QuestionName = keyof Questions;

/** To a worker. */
export interface Question<Name extends QuestionName = QuestionName> {
  readonly number: number;
  readonly name: Name;
  readonly asks: Questions[Name]["asks"];
}

/** From a worker. */
export type Reply =
  | { readonly what: "answer"; readonly number: number; readonly answer: unknown }
  | {
      readonly what: "failure";
      readonly number: number;
      /** Undefined: it is a defect. */
      readonly code: FailureCode | undefined;
      readonly message: string;
      readonly hint: string;
    };
