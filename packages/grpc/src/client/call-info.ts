/** How a call came to its reply: the counterpart of `reply.mesh`, found by one symbol on what grpc-js hands out. */
import {
  NOT_RETRIED_BECAUSE,
  PICKED_BECAUSE,
  type Call,
  type NoRetry,
  type PickRule,
} from "@inmesh/core/spi";

/** How the call came to its end, or where it is now. */
export interface CallInfo {
  /** Name of the service, as in the configuration, or host and port of a URL. */
  readonly service: string;
  /** Empty until a route has been chosen. */
  readonly route: string;
  /** `host:port` or `unix:path` of the endpoint in use, or last tried; undefined before there was one. */
  readonly endpoint: string | undefined;
  /** Where the endpoint stands, if discovery says so. */
  readonly zone: string | undefined;
  /** Attempts made, re-sends included; 0 before the first. */
  readonly attempts: number;
  /** Endpoints that failed this call before, in order. */
  readonly tried: readonly string[];
  /** Why an attempt that the retry policy would repeat was not repeated: the words of `MeshError.noRetry`. */
  readonly noRetry: NoRetry | undefined;
  /** One sentence: which route, and why this endpoint. */
  readonly why: string;
}

const INFO: unique symbol = Symbol("inmesh.call");

/**
 * The call behind an error, a status or a call of grpc-js. grpc-js copies what can be enumerated from a
 * status to its error, so this can be enumerated, and loggers print it: its call, which holds the caller's
 * metadata and with it credentials, is where no printer gets at it.
 */
class CallReference {
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  static callOf(reference: unknown): Call | undefined {
    return typeof reference === "object" && reference !== null && #call in reference
      ? reference.#call
      : undefined;
  }
}

/** What carries the reference. The info is made when it is asked for, because most callers never do. */
export interface Carrier {
  [INFO]?: CallReference;
}

export function carry<T extends object>(carrier: T, call: Call): T {
  (carrier as Carrier)[INFO] = new CallReference(call);
  return carrier;
}

/**
 * Where a call went and why. Takes a call of a grpc-js client, the error of one, or its status.
 * Undefined for what did not come through a mesh.
 */
export function callInfo(of: unknown): CallInfo | undefined {
  const call = callOf(of);
  if (call === undefined) return undefined;
  const { attempt, route, service } = call;
  const tried = call.tried?.map(({ address }) => address) ?? [];
  // The last attempt may have found no endpoint; then the one before it says where the call was.
  const at = attempt?.endpoint ?? call.tried?.at(-1);
  const endpoint = at?.address;
  return {
    service,
    route,
    endpoint,
    zone: at?.zone,
    attempts: attempt?.number ?? 0,
    tried,
    noRetry: call.noRetry,
    why: whyOf(route, endpoint, attempt?.rule ?? "only", tried, call.noRetry),
  };
}

function callOf(of: unknown): Call | undefined {
  if (typeof of !== "object" || of === null) return undefined;
  const own = CallReference.callOf((of as Carrier)[INFO]);
  if (own !== undefined) return own;
  const { getAuthContext } = of as { getAuthContext?: () => unknown };
  if (typeof getAuthContext !== "function") return undefined;
  const context: unknown = getAuthContext.call(of);
  return typeof context === "object" && context !== null
    ? CallReference.callOf((context as Carrier)[INFO])
    : undefined;
}

function whyOf(
  route: string,
  endpoint: string | undefined,
  rule: PickRule,
  tried: string[],
  noRetry: NoRetry | undefined,
): string {
  if (endpoint === undefined) return `route ${route}; no endpoint was picked`;
  const after = tried.length === 0 ? "" : ` after ${tried.join(", ")} failed`;
  const end = noRetry === undefined ? "" : `; not retried: ${NOT_RETRIED_BECAUSE[noRetry]}`;
  return `route ${route} → ${endpoint}: ${PICKED_BECAUSE[rule]}${after}${end}`;
}
