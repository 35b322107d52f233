/** What a protocol brings to a mesh, and what its clients get of it. */
import type { Call, Reply } from "./call.ts";
import type { ServiceConfig } from "./config/types.ts";
import type { MeshError } from "./errors.ts";
import type { Handler } from "./handler.ts";
import type { RoutedRequest } from "./route/facts.ts";
import type { Reachability } from "./running-service.ts";
import type { Runtime } from "./runtime/runtime.ts";
import type { ConnectionRecord } from "./telemetry/connections.ts";
import type { StandardClient } from "./telemetry/standard.ts";
import type { Identities } from "./tls/identities.ts";
import type { Transport } from "./transport.ts";

/** What a protocol supplies to run over the mesh. */
export interface Protocol<Req extends RoutedRequest, R extends Reply> {
  /** Closed set, used as a label: `http`, `grpc`, `stub`. */
  readonly name: string;
  /** The status that a caller gets for a failure of the mesh's own; left out: it gets the error itself. */
  statusOf?(error: MeshError): number;
  /** Another instrumentation makes a span for each attempt of such a request, and writes it into its head. */
  tracedByOthers?(request: Req, service: ServiceConfig): boolean;
  /** Durations under OpenTelemetry's names, of attempts or of calls. Default: none. */
  readonly standard?: StandardClient<Req>;
  /**
   * `identities`: of the mesh, for services with TLS. Default: there are files alone. `connections`: where it
   * reports those of the service. Default: nowhere.
   */
  transport(
    service: ServiceConfig,
    runtime: Runtime,
    identities?: Identities,
    connections?: ConnectionRecord,
  ): Transport<Req, R>;
}

/** One service as one protocol's clients use it. */
export interface Service<Req, R extends Reply> {
  readonly name: string;
  /** The configuration in force. */
  readonly config: ServiceConfig;
  readonly runtime: Runtime;
  /** The pipeline in force. Read it once per call. */
  readonly current: Handler<Call<Req>, R>;
  /** For clients that show it. O(endpoints): never for a call. */
  readonly reachability: Reachability;
  /** Starts discovery and connects, as a first call would. False: no endpoint was reached. */
  reach(): Promise<boolean>;
}
