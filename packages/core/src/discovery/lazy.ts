/** A source whose code is loaded with its first watch: importing inmesh must stay cheap. */
import type { Discovery, EndpointSink, EndpointWatch } from "./discovery.ts";
import { errorOf } from "../errors.ts";

export function lazyDiscovery(source: string, load: () => Promise<Discovery>): Discovery {
  return {
    source,
    watch(sink: EndpointSink): EndpointWatch {
      let stopped = false;
      let watch: EndpointWatch | undefined;
      load().then(
        (discovery) => {
          if (!stopped) watch = discovery.watch(sink);
        },
        (error: unknown) => {
          if (!stopped) sink.failed(errorOf(error));
        },
      );
      return {
        refresh: () => watch?.refresh(),
        stop() {
          stopped = true;
          watch?.stop();
        },
      };
    },
  };
}
