/** A source of endpoints that a test speaks for. */
import type { MeshOptions, ServiceInput } from "@inmesh/core";
import type { Discovery, EndpointInfo, EndpointSink } from "@inmesh/core/spi";
import type { MeshClient } from "@inmesh/http";
import { clientOf } from "../wire.ts";

export class TestDiscovery implements Discovery {
  readonly source = "test";
  sink: EndpointSink | undefined = undefined;
  stopped = false;
  readonly #first: ((sink: EndpointSink) => void) | undefined;

  /** `first` runs with the first watch: what the source knows at once. */
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

/** A client of the service `orders`, whose endpoints are those that `discovery` tells. */
export function discovered(
  discovery: Discovery,
  input: ServiceInput = {},
  options: MeshOptions = {},
): MeshClient {
  return clientOf(["127.0.0.1:1"], input, { ...options, discovery: () => discovery });
}
