/** A source of endpoints that a test speaks for. */
import type { Discovery, EndpointInfo, EndpointSink } from "@inmesh/core/spi";

export class TestDiscovery implements Discovery {
  readonly source = "test";
  sink: EndpointSink | undefined = undefined;
  stopped = false;
  readonly #first: ((sink: EndpointSink) => void) | undefined;

  /** `first` runs as soon as somebody watches: what the source knows at once. */
  constructor(first?: (sink: EndpointSink) => void) {
    this.#first = first;
  }

  watch(sink: EndpointSink): { refresh(): void; stop(): void } {
    this.sink = sink;
    this.#first?.(sink);
    return { refresh() {}, stop: () => (this.stopped = true) };
  }
}

/** `host:port` as an endpoint. */
export function infoOf(address: string, more: Partial<EndpointInfo> = {}): EndpointInfo {
  const [host, port] = address.split(":");
  return { host: host!, port: Number(port), ...more };
}
