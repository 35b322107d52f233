/**
 * Which methods a client is known to have. A channel is given paths, and whatever forwards calls may have taken
 * them from outside; names in metrics come from definitions and from the configuration.
 */
import type { ServiceConfig } from "@inmesh/core/spi";
import { OTHER_NAME, routedGrpcPaths } from "@inmesh/core/spi";

/**
 * A service as generated code describes it: for grpc-js (`OrdersClient.service`), or for nice-grpc (`OrdersDefinition`
 * of ts-proto).
 */
export type MethodDefinitions =
  | Readonly<Record<string, { readonly path: string }>>
  | {
      readonly fullName: string;
      readonly methods: Readonly<Record<string, { readonly name: string }>>;
    };

export class MethodNames {
  readonly #defined: ReadonlyMap<string, string>;
  #config: ServiceConfig | undefined = undefined;
  #names: ReadonlyMap<string, string> = new Map();

  /** Throws a TypeError for what describes no service. */
  constructor(definitions: readonly MethodDefinitions[]) {
    this.#defined = new Map(definitions.flatMap(pathsOf).map(named));
  }

  /** `package.Service/Method`, or what stands for all others. `config`: the one in force. */
  of(path: string, config: ServiceConfig): string {
    if (config !== this.#config) this.#learn(config);
    return this.#names.get(path) ?? OTHER_NAME;
  }

  #learn(config: ServiceConfig): void {
    this.#names = new Map([...this.#defined, ...routedGrpcPaths(config).map(named)]);
    this.#config = config;
  }
}

function named(path: string): [path: string, name: string] {
  return [path, path.slice(1)];
}

function pathsOf(definition: MethodDefinitions): string[] {
  const { fullName, methods } = definition as { fullName?: unknown; methods?: unknown };
  const paths =
    typeof fullName === "string" && typeof methods === "object" && methods !== null
      ? Object.values(methods).map((one: { name?: unknown }) => `/${fullName}/${String(one.name)}`)
      : Object.values(definition).map((one: unknown) => (one as { path?: unknown } | null)?.path);
  if (paths.length > 0 && paths.every(isPath)) return paths;
  throw new TypeError(
    "meshGrpc: definitions must hold services as generated code describes them: OrdersClient.service of grpc-js, or OrdersDefinition of ts-proto",
  );
}

function isPath(path: unknown): path is string {
  return typeof path === "string" && /^\/[^/]+\/[^/]+$/.test(path);
}
