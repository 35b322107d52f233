/**
 * A name that was taken over from DNS: the API of Kubernetes says where its endpoints are, and DNS does where the API
 * server cannot be asked, or knows no slice of the name. Once the API has answered, DNS is not asked again while
 * slices exist: the last good endpoints are better than the one address of a Service.
 */
import type {
  Discovery,
  DiscoveryMesh,
  EndpointInfo,
  EndpointSink,
  EndpointWatch,
  Timer,
} from "@inmesh/core/spi/discovery";
import { ApiError } from "./api-error.ts";
import type { SliceSink } from "./subscriber.ts";

/** A call waits for the first answer of discovery for 3 s at most, and DNS needs some of it. */
const PATIENCE_MS = 1_000;
/**
 * Where RBAC or the credentials forbid it, asking again costs the API server something for each process of a cluster,
 * and helps nothing before a person has acted.
 */
const FIRST_REFUSED_MS = 10_000;
const MAX_REFUSED_MS = 300_000;
/** Another reason is said after this long at the earliest: two reasons may take turns. */
const SAY_AGAIN_MS = 60_000;
const OFF = "createMesh({ kubernetes: false }) or INMESH_KUBERNETES=off leaves such names to DNS";

/** `open`: the source that watches slices. `name`: the Service, for people. */
export function withDns(
  open: Pick<Discovery, "watch">,
  dns: Discovery,
  name: string,
  mesh: DiscoveryMesh,
): Discovery {
  return {
    source: "kubernetes",
    watch: (sink) => new NameWatch(open, dns, name, mesh, sink),
  };
}

class NameWatch implements EndpointWatch, SliceSink {
  readonly #slices: Pick<Discovery, "watch">;
  readonly #dns: Discovery;
  readonly #name: string;
  readonly #mesh: DiscoveryMesh;
  readonly #sink: EndpointSink;
  /** Which of them the endpoints in use come from; undefined: neither has answered. */
  #from: "slices" | "dns" | undefined = undefined;
  #slicesWatch: EndpointWatch | undefined = undefined;
  #dnsWatch: EndpointWatch | undefined = undefined;
  #timer: Timer | undefined = undefined;
  #refusedMs = FIRST_REFUSED_MS;
  #isAsking = false;
  /** As it was last logged, and when. */
  #why: string | undefined = undefined;
  #saidAt = -Infinity;
  #stopped = false;

  constructor(
    slices: Pick<Discovery, "watch">,
    dns: Discovery,
    name: string,
    mesh: DiscoveryMesh,
    sink: EndpointSink,
  ) {
    this.#slices = slices;
    this.#dns = dns;
    this.#name = name;
    this.#mesh = mesh;
    this.#sink = sink;
    mesh.shared(announce);
    const late = `the API server has not answered within ${PATIENCE_MS / 1_000} s`;
    this.#timer = mesh.runtime.after(PATIENCE_MS, () => this.#askDns(late), undefined);
    this.#begin();
  }

  refresh(): void {
    this.#slicesWatch?.refresh();
    this.#dnsWatch?.refresh();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#slicesWatch?.stop();
    this.#dnsWatch?.stop();
  }

  #begin(): void {
    this.#isAsking = true;
    // It may report before it returns, and its report may have ended it.
    const watch = this.#slices.watch(this);
    if (this.#isAsking && !this.#stopped) this.#slicesWatch = watch;
    else watch.stop();
  }

  // ── of the slices ────────────────────────────────────────────────────────────────────────────

  replace(endpoints: readonly EndpointInfo[], why?: string): void {
    if (this.#stopped) return;
    this.#useSlices();
    this.#sink.replace(endpoints, why);
  }

  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void {
    if (this.#stopped) return;
    this.#useSlices();
    this.#sink.change(upserted, removed);
  }

  failed(error: Error): void {
    if (this.#stopped) return;
    if (this.#from === "slices") return this.#sink.failed(error);
    this.#askDns(error.message);
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) {
      this.#askLater();
    }
  }

  /** It may be a Service that is a name for DNS. */
  noSlices(why: string): void {
    if (this.#stopped) return;
    // DNS would name a Service that was deleted for some time more.
    if (this.#from === "slices") this.#sink.replace([], why);
    else this.#askDns(why);
  }

  #useSlices(): void {
    if (this.#from === "slices") return;
    this.#timer?.cancel();
    const wasDns = this.#from === "dns";
    this.#from = "slices";
    this.#why = undefined;
    this.#saidAt = -Infinity;
    this.#refusedMs = FIRST_REFUSED_MS;
    this.#dnsWatch?.stop();
    this.#dnsWatch = undefined;
    if (!wasDns) return;
    this.#mesh.log({
      level: "info",
      event: "discovery.kubernetes",
      message: `${this.#name}: its EndpointSlices are watched again, and DNS is not asked any more`,
    });
  }

  // ── of DNS ───────────────────────────────────────────────────────────────────────────────────

  #askDns(why: string): void {
    const now = this.#mesh.runtime.now();
    if (this.#why !== why && now - this.#saidAt >= SAY_AGAIN_MS) {
      this.#why = why;
      this.#saidAt = now;
      const message = `${this.#name} is looked up by DNS, because its EndpointSlices cannot be used: ${why}. ${OFF}`;
      this.#mesh.log({ level: "warn", event: "discovery.fallback", message });
    }
    if (this.#from === "dns") return;
    this.#from = "dns";
    this.#timer?.cancel();
    this.#dnsWatch = this.#dns.watch({
      replace: (endpoints, reason) => {
        if (this.#isDns) this.#sink.replace(endpoints, reason);
      },
      change: (upserted, removed) => {
        if (this.#isDns) this.#sink.change(upserted, removed);
      },
      failed: (error) => {
        if (this.#isDns) this.#sink.failed(error);
      },
    });
  }

  get #isDns(): boolean {
    return this.#from === "dns" && !this.#stopped;
  }

  #askLater(): void {
    this.#timer?.cancel();
    const { runtime } = this.#mesh;
    const pauseMs = this.#refusedMs * (0.5 + runtime.random() / 2);
    this.#refusedMs = Math.min(2 * this.#refusedMs, MAX_REFUSED_MS);
    this.#timer = runtime.after(pauseMs, () => this.#begin(), undefined);
    this.#isAsking = false;
    this.#slicesWatch?.stop();
    this.#slicesWatch = undefined;
  }
}

/** Once for each mesh. */
function announce({ log }: DiscoveryMesh): void {
  const message = `names such as orders.shop.svc are looked up as EndpointSlices of Kubernetes, and calls go to the pods; ${OFF}`;
  log({ level: "info", event: "discovery.kubernetes", message });
}
