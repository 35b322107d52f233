/**
 * `meshChannel(name)` is a channel for every client that grpc-js's code runs under; `meshGrpc(name)`
 * the arguments of such a client's constructor. The channel has no connections of its own: each call
 * goes through the pipeline of the service, whose transport has a grpc-js channel per endpoint.
 */
import {
  type connectivityState,
  credentials,
  propagate,
  type Channel,
  type ChannelCredentials,
  type ChannelInterface,
  type ChannelOptions,
  type ClientOptions,
} from "@grpc/grpc-js";
import type { Mesh, ServiceInput } from "@inmesh/core";
import { assertClientOptions, defaultMesh, ReplayMemory, type Service } from "@inmesh/core/spi";
import type { Deadline, ServedCall, WireCall } from "./call-types.ts";
import { Connectivity } from "./client/connectivity.ts";
import { MeshCall } from "./client/mesh-call.ts";
import { MethodNames, type MethodDefinitions } from "./client/method-names.ts";
import { GRPC } from "./client/protocol.ts";
import type { GrpcReply } from "./client/reply.ts";
import { GrpcRequest, wiringOf, type Wiring } from "./client/request.ts";
import type { Classify } from "./status.ts";

/** gRPC's own value (gRFC A6): what all calls of a client keep so that it can be sent again. */
const CLIENT_BYTES = 16_777_216;

export interface GrpcOptions extends ServiceInput {
  /** The mesh to call through. Default: one per process for all protocols, by environment and file. */
  readonly mesh?: Mesh;
  /**
   * Names, values and 32 bytes per entry of what a call may send as metadata. Default 8192, which
   * every server takes. Above it a call fails with RESOURCE_EXHAUSTED before anything is sent.
   */
  readonly maxMetadataBytes?: number;
  /**
   * grpc-js's own options for the connections, such as `grpc.default_compression_algorithm` and
   * `grpc.max_receive_message_length` (4 MiB without it). Clients with equal ones share connections.
   * What the mesh decides itself wins: authority, retries, proxies, service config. Default: none.
   */
  readonly channelOptions?: ChannelOptions;
  /**
   * What a status says about the endpoint, where the rule does not fit: its number and the method's
   * path in, an outcome out, or undefined for the rule, as if it throws. Default: the rule, by which
   * UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE and DATA_LOSS are failures, RESOURCE_EXHAUSTED
   * is overload, and every other status is the endpoint's job done.
   */
  readonly classify?: Classify;
  /**
   * The services that are called through it, as generated code describes them: `OrdersClient.service` of
   * grpc-js, `OrdersDefinition` of ts-proto. Metrics name their methods (`rpc.method` of
   * `rpc.client.call.duration`); those of no definition, and that no route names, are `_OTHER`. A TypeError for
   * what describes no service. Default: none.
   */
  readonly definitions?: readonly MethodDefinitions[];
}

const MAX_METADATA_BYTES = 8_192;

const OWN_OPTIONS = {
  mesh: "object",
  maxMetadataBytes: "any",
  channelOptions: "object",
  classify: "function",
  definitions: "list",
} as const;

/**
 * What the constructor of a generated or dynamic client takes: `new OrdersClient(...meshGrpc("orders"))`.
 * The name stands in the configuration, or is a URL. Throws ConfigError if it is unknown. Address and
 * credentials in it are placeholders: the service's configuration decides on both.
 */
export function meshGrpc(
  nameOrUrl: string | URL,
  options: GrpcOptions = {},
): [address: string, credentials: ChannelCredentials, options: ClientOptions] {
  const channel = openChannel(nameOrUrl, options, meshGrpc);
  return [channel.getTarget(), credentials.createInsecure(), { channelOverride: channel }];
}

/**
 * The channel alone, for clients that take one: nice-grpc's `createClient(definition, channel)`. It
 * is no instance of grpc-js's class, whose type it has because clients ask for that.
 */
export function meshChannel(nameOrUrl: string | URL, options: GrpcOptions = {}): Channel {
  return openChannel(nameOrUrl, options, meshChannel);
}

/** `opener`: what the application has called. */
function openChannel(
  nameOrUrl: string | URL,
  options: GrpcOptions,
  opener: typeof meshGrpc | typeof meshChannel,
): Channel {
  assertClientOptions<GrpcOptions>("meshChannel", options, OWN_OPTIONS);
  const {
    mesh = defaultMesh(),
    maxMetadataBytes = MAX_METADATA_BYTES,
    channelOptions,
    classify,
    definitions = [],
    ...input
  } = options;
  const said = Object.keys(input).length === 0 ? undefined : input;
  const channel = new MeshChannel(
    mesh.service(nameOrUrl, GRPC, said, opener),
    new ReplayMemory(CLIENT_BYTES, mesh.replayMemory),
    maxMetadataBytes,
    classify,
    channelOptions,
    new MethodNames(definitions),
  );
  return channel as unknown as Channel;
}

class MeshChannel implements ChannelInterface {
  readonly #service: Service<GrpcRequest, GrpcReply>;
  readonly #maxMetadataBytes: number;
  readonly #classify: Classify | undefined;
  readonly #wiring: Wiring | undefined;
  readonly #methods: MethodNames;
  /** For all calls of the client together. */
  readonly #memory: ReplayMemory;
  readonly #connectivity: Connectivity;
  #closed = false;

  constructor(
    service: Service<GrpcRequest, GrpcReply>,
    memory: ReplayMemory,
    maxMetadataBytes: number,
    classify: Classify | undefined,
    channelOptions: ChannelOptions | undefined,
    methods: MethodNames,
  ) {
    this.#methods = methods;
    this.#service = service;
    this.#memory = memory;
    this.#maxMetadataBytes = maxMetadataBytes;
    this.#classify = classify;
    this.#wiring = wiringOf(channelOptions);
    this.#connectivity = new Connectivity(service);
  }

  createCall(
    path: string,
    deadline: Deadline,
    host: string | null | undefined,
    parent: ServedCall,
    flags: number | null | undefined,
  ): WireCall {
    if (this.#closed) throw new Error("Channel has been shut down");
    const { runtime } = this.#service;
    const passed = flags ?? propagate.DEFAULTS;
    let until = deadline;
    if (parent !== null && (passed & propagate.DEADLINE) !== 0) {
      until = Math.min(Number(until), Number(parent.getDeadline()));
    }
    // A deadline of grpc-js is a date. From here on it is an instant of the clock that never jumps.
    const deadlineAt =
      until === Infinity ? Infinity : runtime.now() + (Number(until) - runtime.wallNow());
    const request = new GrpcRequest(path, host ?? undefined, this.#classify, this.#memory);
    request.wiring = this.#wiring;
    request.methodName = this.#methods.of(path, this.#service.config);
    const call = new MeshCall(this.#service, request, deadlineAt, this.#maxMetadataBytes);
    if (parent !== null && (passed & propagate.CANCELLATION) !== 0) call.endWith(parent);
    return call;
  }

  /** No further calls; those in progress go on, and the mesh stays open for others. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connectivity.close();
  }

  getTarget(): string {
    return `mesh:${this.#service.name}`;
  }

  /**
   * READY: an endpoint has a connection that can take a call. IDLE: there is none, and none was asked for;
   * `tryToConnect` asks for it. TRANSIENT_FAILURE: there are no endpoints, all are out, or none could be
   * reached, which is tried again. SHUTDOWN: the channel, or the mesh, is closed.
   */
  getConnectivityState(tryToConnect: boolean): connectivityState {
    return this.#connectivity.state(tryToConnect);
  }

  /**
   * Calls back once, without an error when the state differs from `currentState`, and with one at the
   * deadline. Throws when the channel or the mesh is closed. Under `Client.waitForReady`.
   */
  watchConnectivityState(
    currentState: connectivityState,
    deadline: Deadline,
    callback: (error?: Error) => void,
  ): void {
    this.#connectivity.watch(currentState, deadline, callback);
  }

  getChannelzRef(): ReturnType<ChannelInterface["getChannelzRef"]> {
    return { kind: "channel", id: 0, name: this.getTarget() } as ReturnType<
      ChannelInterface["getChannelzRef"]
    >;
  }
}
