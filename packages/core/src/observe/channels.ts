/**
 * What observers hear, on channels of `node:diagnostics_channel`, for tools that have no mesh at hand. A channel
 * belongs to the process, and Node does not say when it gets a subscriber, so every place that asks whether there are
 * observers asks the channels too: `hasSubscribers` of a channel without any is a getter that the compiler turns into
 * a constant (decision 39). While a channel has a subscriber, each mesh that asks has this observer in its list.
 */
import { type Channel, channel } from "node:diagnostics_channel";
import type { LogLine } from "../log.ts";
import type { Observer } from "./observer.ts";

const CALL_START: Channel = channel("inmesh:call:start");
const CALL_END: Channel = channel("inmesh:call:end");
const ATTEMPT_START: Channel = channel("inmesh:attempt:start");
const ATTEMPT_END: Channel = channel("inmesh:attempt:end");
const SERVED_START: Channel = channel("inmesh:served:start");
const SERVED_END: Channel = channel("inmesh:served:end");
const BREAKER: Channel = channel("inmesh:breaker");
const CONFIG: Channel = channel("inmesh:config");
const DISCOVERY: Channel = channel("inmesh:discovery");
const WARNING: Channel = channel("inmesh:warning");

/** A channel that an observer writes to has a subscriber. */
export function isSubscribed(): boolean {
  return (
    CALL_END.hasSubscribers ||
    CALL_START.hasSubscribers ||
    ATTEMPT_END.hasSubscribers ||
    ATTEMPT_START.hasSubscribers ||
    SERVED_END.hasSubscribers ||
    SERVED_START.hasSubscribers ||
    BREAKER.hasSubscribers ||
    CONFIG.hasSubscribers ||
    DISCOVERY.hasSubscribers
  );
}

/** Publishing on a channel without subscribers does nothing. Node makes an uncaught exception of what a subscriber throws. */
export const CHANNEL_OBSERVER: Observer = {
  callStarted: (call) => CALL_START.publish(call),
  attemptStarted: (attempt) => ATTEMPT_START.publish(attempt),
  attemptEnded: (attempt) => ATTEMPT_END.publish(attempt),
  callEnded: (call) => CALL_END.publish(call),
  servedStarted: (request) => SERVED_START.publish(request),
  servedEnded: (request) => SERVED_END.publish(request),
  endpointChanged(change) {
    if (change.kind === "breaker") BREAKER.publish(change);
  },
  configChanged: (change) => CONFIG.publish(change),
  discoveryChanged: (change) => DISCOVERY.publish(change),
};

/** Of a log: lines that may need an operator. */
export function publishWarning(line: LogLine): void {
  if (line.level === "warn") WARNING.publish(line);
}
