/**
 * Which methods of gRPC may be names in metrics: those of routes, and those that a server has answered with OK. Any client may
 * ask for any other, so others are one.
 */
import { OTHER_NAME, routedGrpcPaths, type ServiceConfig } from "@inmesh/core/spi";

/** Of one service. A server that says OK to everything could be asked for more and more of them. */
const MAX_NAMES = 200;

const OF_SERVICES = new WeakMap<ServiceConfig, GrpcMethods>();

export class GrpcMethods {
  /** By path. */
  readonly #names: Map<string, string>;

  /** Those of a service, as it is configured. */
  static of(config: ServiceConfig): GrpcMethods {
    let methods = OF_SERVICES.get(config);
    if (methods === undefined) OF_SERVICES.set(config, (methods = new GrpcMethods(config)));
    return methods;
  }

  private constructor(config: ServiceConfig) {
    this.#names = new Map(routedGrpcPaths(config).map((path) => [path, path.slice(1)]));
  }

  /** `package.Service/Method`, or what stands for all others. */
  nameOf(path: string): string {
    return this.#names.get(path) ?? OTHER_NAME;
  }

  /** There is one of that path. */
  add(path: string): void {
    if (this.#names.size < MAX_NAMES && !this.#names.has(path))
      this.#names.set(path, path.slice(1));
  }
}
