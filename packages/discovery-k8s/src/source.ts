/** The watches of one mesh, one for each namespace. Their code is loaded with the first: importing must stay cheap. */
import type { Discovery, DiscoveryMesh, Timer } from "@inmesh/core/spi/discovery";
import type { AccessOptions } from "./access.ts";
import type { NamespaceWatch, SliceSink } from "./namespace-watch.ts";
import type { watchPort } from "./service-port.ts";

/** What a service says under `kubernetes`. */
export interface KubernetesService {
  /** Empty: that of the pod, or of the context of the kubeconfig. */
  readonly namespace: string;
  readonly service: string;
  /** Name or number of the port; empty: the only one. */
  readonly port: string;
  /** A port of the Service by its own number, which need not be that of its pods. Only with an empty `port`. */
  readonly number?: number;
}

/** Credentials that were not found are looked for again. */
const FIND_AGAIN_MS = 10_000;

export function sourceOf(
  options: AccessOptions,
  mesh: DiscoveryMesh,
): (service: KubernetesService) => Discovery {
  let found: Promise<Loaded> | undefined;
  const find = (): Promise<Loaded> => {
    found ??= load(options, mesh).catch((error: unknown) => {
      found = undefined;
      throw error;
    });
    return found;
  };
  return ({ namespace, service, port, number }) => ({
    source: "kubernetes",
    watch: (sink: SliceSink) => {
      let stopped = false;
      let stop = (): void => {};
      let refresh = begin;
      let again: Timer | undefined;
      function begin(): void {
        again?.cancel();
        refresh = () => {};
        find().then(
          ({ of, watchPort }) => {
            if (stopped) return;
            const watches = of(namespace);
            const watch =
              number === undefined
                ? watches.subscribe(service, port, sink)
                : watchPort(watches, service, number, sink, mesh.runtime);
            stop = () => watch.stop();
            refresh = () => watch.refresh();
          },
          (error: unknown) => {
            // What was not found may be there later: a kubeconfig is written, a token is mounted.
            refresh = begin;
            if (!stopped) again = mesh.runtime.after(FIND_AGAIN_MS, () => refresh(), undefined);
            if (!stopped) sink.failed(error instanceof Error ? error : new Error(String(error)));
          },
        );
      }
      begin();
      return {
        refresh: () => {
          if (!stopped) refresh();
        },
        stop() {
          stopped = true;
          again?.cancel();
          stop();
        },
      };
    },
  });
}

interface Loaded {
  readonly of: (namespace: string) => NamespaceWatch;
  readonly watchPort: typeof watchPort;
}

async function load(options: AccessOptions, mesh: DiscoveryMesh): Promise<Loaded> {
  const [{ findAccess }, watches, ports] = await Promise.all([
    import("./access.ts"),
    import("./namespace-watch.ts"),
    import("./service-port.ts"),
  ]);
  const access = await findAccess(options, mesh.runtime, process.env);
  const all = new Map<string, NamespaceWatch>();
  const of = (written: string): NamespaceWatch => {
    const namespace = written === "" ? access.namespace : written;
    let watch = all.get(namespace);
    if (watch === undefined) {
      watch = new watches.NamespaceWatch(namespace, access, mesh);
      all.set(namespace, watch);
    }
    return watch;
  };
  return { of, watchPort: ports.watchPort };
}
