/** The watches of one mesh, one for each namespace. Their code is loaded with the first: importing must stay cheap. */
import type { Discovery, DiscoveryMesh, Timer } from "@inmesh/core/spi/discovery";
import type { AccessOptions } from "./access.ts";
import type { NamespaceWatch } from "./namespace-watch.ts";
import type { OwnPod, PodIdentity } from "./own-pod.ts";
import type { watchPort } from "./service-port.ts";
import type { SliceSink } from "./subscriber.ts";

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
  let found: Promise<Watches> | undefined;
  const find = (): Promise<Watches> => {
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
          ({ of, begin: use, watchPort }) => {
            if (stopped) return;
            const watches = of(namespace);
            const watch =
              number === undefined
                ? watches.subscribe(service, port, sink)
                : watchPort(watches, service, number, sink, mesh.runtime);
            const end = use();
            stop = () => {
              watch.stop();
              end();
            };
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

/** The watches, and whether there are any. */
interface Watches {
  readonly of: (namespace: string) => NamespaceWatch;
  /** One more service is watched, until the function that it gives is called. */
  readonly begin: () => () => void;
  readonly watchPort: typeof watchPort;
}

async function load(options: AccessOptions, mesh: DiscoveryMesh): Promise<Watches> {
  const [{ findAccess }, watches, { OwnPod: Own }, ports] = await Promise.all([
    import("./access.ts"),
    import("./namespace-watch.ts"),
    import("./own-pod.ts"),
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
  let users = 0;
  let endOwn = (): void => {};
  return {
    of,
    watchPort: ports.watchPort,
    begin() {
      const { pod } = access;
      if (users++ === 0 && pod !== undefined) {
        endOwn = follow(new Own(pod, mesh.place), pod, of(""), mesh);
      }
      let ended = false;
      return () => {
        if (ended) return;
        ended = true;
        if (--users === 0) endOwn();
      };
    },
  };
}

/** For as long as something is watched. Gives the function that ends it. */
function follow(
  own: OwnPod,
  { service }: PodIdentity,
  watch: NamespaceWatch,
  mesh: DiscoveryMesh,
): () => void {
  return watch.listen({
    service,
    heard: (store, changed) => own.heard(store, changed),
    refused(error) {
      if (mesh.place.zone !== undefined || mesh.shared(saidPlace).said) return;
      mesh.shared(saidPlace).said = true;
      mesh.log({
        level: "info",
        event: "place.unknown",
        message: `the zone of this pod is not known, so that calls go to all zones alike: ${error.message}; or say it as INMESH_ZONE`,
      });
    },
  });
}

/** Once for each mesh. */
function saidPlace(): { said: boolean } {
  return { said: false };
}
