/** A fixed list of endpoints, from code, file or environment. */
import type { Discovery, EndpointSink, EndpointWatch } from "../discovery.ts";
import type { EndpointInfo } from "../../endpoint-info.ts";

export function staticDiscovery(endpoints: readonly EndpointInfo[]): Discovery {
  return {
    source: "static",
    watch(sink: EndpointSink): EndpointWatch {
      sink.replace(endpoints);
      return { refresh() {}, stop() {} };
    },
  };
}
