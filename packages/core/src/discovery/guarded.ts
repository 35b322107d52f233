/**
 * Sources may be the application's own, and may throw (P2). That is bad news of discovery: counted,
 * shown in the snapshot, and the last good set stays. It never is the failure of a call or of a close.
 */
import type { Discovery, EndpointSink, EndpointWatch } from "./discovery.ts";

export function watchGuarded(discovery: Discovery, sink: EndpointSink): EndpointWatch {
  const safely = (act: () => EndpointWatch | void): EndpointWatch | void => {
    try {
      return act();
    } catch (error) {
      sink.failed(error instanceof Error ? error : new Error(String(error)));
    }
  };
  const watch = safely(() => discovery.watch(sink));
  return {
    refresh: () => void safely(() => watch?.refresh()),
    stop: () => void safely(() => watch?.stop()),
  };
}
