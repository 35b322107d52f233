/** A source whose code is loaded when somebody first watches: importing inmesh must stay cheap. */
import type { Discovery, EndpointSink, EndpointWatch } from "./discovery.ts";

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
          if (!stopped) sink.failed(error instanceof Error ? error : new Error(String(error)));
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
