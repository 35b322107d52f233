/**
 * A port of a Service by its own number, as a URL has it. Slices have the name of the port and the number on which
 * the pods listen. So the only port of a Service is taken whatever its number, and of several ports the Service says
 * which one is meant.
 */
import type { EndpointWatch, Runtime, Timer } from "@inmesh/core/spi/discovery";
import { ApiError } from "./api-error.ts";
import { PortError } from "./endpoints.ts";
import type { NamespaceWatch } from "./namespace-watch.ts";
import { isObject, type SlicePort } from "./slice.ts";
import type { SliceSink } from "./subscriber.ts";

export function watchPort(
  slices: NamespaceWatch,
  service: string,
  number: number,
  sink: SliceSink,
  runtime: Runtime,
): EndpointWatch {
  return new PortWatch(slices, service, number, sink, runtime);
}

/** A Service that could not be read is read again after this long. */
const ASK_AGAIN_MS = 10_000;

class PortWatch implements EndpointWatch, SliceSink {
  readonly #slices: NamespaceWatch;
  readonly #service: string;
  readonly #number: number;
  readonly #sink: SliceSink;
  readonly #runtime: Runtime;
  #watch: EndpointWatch | undefined = undefined;
  #again: Timer | undefined = undefined;
  #isAsking = false;
  #stopped = false;

  constructor(
    slices: NamespaceWatch,
    service: string,
    number: number,
    sink: SliceSink,
    runtime: Runtime,
  ) {
    this.#slices = slices;
    this.#service = service;
    this.#number = number;
    this.#sink = sink;
    this.#runtime = runtime;
    this.#begin("");
  }

  refresh(): void {
    this.#watch?.refresh();
  }

  stop(): void {
    this.#stopped = true;
    this.#again?.cancel();
    this.#watch?.stop();
  }

  replace(...news: Parameters<SliceSink["replace"]>): void {
    this.#sink.replace(...news);
  }

  change(...news: Parameters<SliceSink["change"]>): void {
    this.#sink.change(...news);
  }

  noSlices(why: string): void {
    if (this.#sink.noSlices === undefined) this.#sink.replace([], why);
    else this.#sink.noSlices(why);
  }

  failed(error: Error): void {
    if (!(error instanceof PortError)) return this.#sink.failed(error);
    if (!this.#isAsking && !this.#stopped) void this.#ask(error.ports);
  }

  #begin(port: string): void {
    this.#watch?.stop();
    const watch = this.#slices.subscribe(this.#service, port, this);
    if (this.#stopped) watch.stop();
    else this.#watch = watch;
  }

  async #ask(ports: readonly SlicePort[]): Promise<void> {
    this.#isAsking = true;
    this.#again?.cancel();
    try {
      const port = nameOf(await this.#slices.serviceNamed(this.#service), this.#number, ports);
      this.#isAsking = false;
      if (!this.#stopped) this.#begin(port);
    } catch (error) {
      this.#isAsking = false;
      if (this.#stopped) return;
      this.#again = this.#runtime.after(ASK_AGAIN_MS, () => void this.#ask(ports), undefined);
      const isForbidden = error instanceof ApiError && error.status === 403;
      this.#sink.failed(isForbidden ? new ApiError(403, this.#missingRule()) : (error as Error));
    }
  }

  #missingRule(): string {
    return (
      `the Service ${this.#service} has several ports, and the API server does not let this process read which of them ` +
      `is ${this.#number} (403). Allow it: add get of services to the role, as in docs/guides/kubernetes.md, or name the port: ` +
      `discovery: { kubernetes: namespace/${this.#service}, port: name }`
    );
  }
}

/** Throws for a number that the Service does not have. */
function nameOf(service: unknown, number: number, ports: readonly SlicePort[]): string {
  const spec = isObject(service) && isObject(service["spec"]) ? service["spec"] : {};
  // Clients of a headless Service connect to the pods by themselves, and write the number of the pods.
  if (spec["clusterIP"] === "None" && ports.some(({ port }) => port === number)) return `${number}`;
  const given: readonly unknown[] = Array.isArray(spec["ports"]) ? spec["ports"] : [];
  const all = given.filter(isObject);
  const found = all.find(({ port }) => port === number)?.["name"];
  if (typeof found === "string" && found !== "") return found;
  const known = all.map(({ name, port }) => `${String(port)} (${String(name)})`).join(", ");
  throw new PortError(`the Service has no port ${number}: its ports are ${known || "none"}`, ports);
}
