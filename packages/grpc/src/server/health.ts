/**
 * The standard health service (grpc.health.v1), which orchestrators and clients ask whether calls
 * should come here. A draining server does not serve, and neither does an overloaded one. It is
 * answered past admission: a server that refuses to say so would be restarted for being busy.
 */
import {
  status as Status,
  type sendUnaryData,
  type Server,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import { isMet, type Runtime, type Timer } from "@inmesh/core/spi";
import {
  HEALTH,
  NOT_SERVING,
  SERVICE_UNKNOWN,
  SERVING,
  type HealthRequest,
  type HealthResponse,
  type ServingStatus,
} from "./health-messages.ts";

export interface GrpcHealthOptions {
  /** The application's own condition, below 10 ms; `""` asks for the whole server. Default: none. */
  readonly isReady?: (service: string) => boolean;
}

interface Watcher {
  readonly service: string;
  readonly stream: ServerWritableStream<HealthRequest, HealthResponse>;
  lastSent: number;
}

/** Load comes and goes without an event: while there are watchers it is checked this often. */
const LOOK_MS = 1_000;

export class Health {
  readonly #serves: (service: string) => boolean;
  readonly #isReady: ((service: string) => boolean) | undefined;
  readonly #serving: () => boolean;
  readonly #maxWatchers: number;
  readonly #runtime: Runtime;
  readonly #watchers = new Set<Watcher>();
  #timer: Timer | undefined = undefined;
  #closed = false;

  /** `serves`: whether the server has such a service. `serving`: what this process itself knows. */
  constructor(
    server: Server,
    { isReady }: GrpcHealthOptions,
    serves: (service: string) => boolean,
    serving: () => boolean,
    maxWatchers: number,
    runtime: Runtime,
  ) {
    this.#serves = serves;
    this.#isReady = isReady;
    this.#serving = serving;
    this.#maxWatchers = maxWatchers;
    this.#runtime = runtime;
    const { check, watch } = HEALTH;
    const { responseSerialize: write, requestDeserialize: read } = check!;
    // A server that has a health service already keeps it.
    server.register(check!.path, this.#check, write, read, "unary");
    server.register(watch!.path, this.#watch, write, read, "serverStream");
  }

  readonly #check = (
    call: ServerUnaryCall<HealthRequest, HealthResponse>,
    done: sendUnaryData<HealthResponse>,
  ): void => {
    const status = this.#statusOf(call.request.service);
    if (status !== SERVICE_UNKNOWN) return done(null, { status });
    done({ code: Status.NOT_FOUND, details: "no such service" });
  };

  /** What the application says of the whole server. */
  get isMet(): boolean {
    const isReady = this.#isReady;
    return isMet(isReady && (() => isReady("")));
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  readonly #watch = (stream: ServerWritableStream<HealthRequest, HealthResponse>): void => {
    if (this.#closed || this.#watchers.size >= this.#maxWatchers) {
      const code = this.#closed ? Status.UNAVAILABLE : Status.RESOURCE_EXHAUSTED;
      return void stream.emit("error", { code, details: "no further watchers" });
    }
    const watcher: Watcher = { service: stream.request.service, stream, lastSent: 0 };
    this.#watchers.add(watcher);
    stream.on("cancelled", () => this.#watchers.delete(watcher));
    this.#tell(watcher);
    if (this.#timer === undefined) this.#arm();
  };

  #statusOf(service: string): ServingStatus {
    if (service !== "" && !this.#serves(service)) return SERVICE_UNKNOWN;
    if (!this.#serving()) return NOT_SERVING;
    const isReady = this.#isReady;
    return isMet(isReady && (() => isReady(service))) ? SERVING : NOT_SERVING;
  }

  #tell(watcher: Watcher): void {
    const status = this.#statusOf(watcher.service);
    // A watcher that does not read gets the latest status when it reads again.
    if (status === watcher.lastSent || watcher.stream.writableNeedDrain) return;
    watcher.lastSent = status;
    watcher.stream.write({ status });
  }

  #arm(): void {
    this.#timer = this.#runtime.after(
      LOOK_MS,
      () => {
        this.#timer = undefined;
        this.changed();
        if (this.#watchers.size > 0) this.#arm();
      },
      undefined,
    );
  }

  /** Notifies those who watch. */
  changed(): void {
    for (const watcher of this.#watchers) this.#tell(watcher);
  }

  /** Watchers would keep their connections for ever: they are sent away, to watch another server. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const { stream } of this.#watchers) {
      stream.emit("error", { code: Status.UNAVAILABLE, details: "the server is closing" });
    }
    this.#watchers.clear();
  }
}
