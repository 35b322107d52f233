/** Which methods of gRPC may be names in metrics: those of routes. Any client may ask for any other, and they are bounded so. */
import { OTHER_NAME, routedGrpcPaths, type ServiceConfig } from "@inmesh/core/spi";

const NAMES = new WeakMap<ServiceConfig, ReadonlyMap<string, string>>();

/** `package.Service/Method`, or what stands for all others. */
export function methodNameOf(path: string, config: ServiceConfig): string {
  let names = NAMES.get(config);
  if (names === undefined) {
    names = new Map(routedGrpcPaths(config).map((one) => [one, one.slice(1)]));
    NAMES.set(config, names);
  }
  return names.get(path) ?? OTHER_NAME;
}
