/** What the tail benchmark needs of a protocol: a server that answers late or badly, and clients. */

export type Protocol = "http" | "grpc";

export interface TailLoad {
  readonly protocol: Protocol;
  /** `pick_first` is grpc-js's own alone, `proxy` that of HTTP: it has no mesh, and goes through mesh-proxy. */
  readonly client: "inmesh" | "round_robin" | "pick_first" | "proxy";
  /** `retry.attempts` of inmesh. */
  readonly attempts: number;
  readonly ports: readonly number[];
  readonly perSecond: number;
  readonly seconds: number;
  /** To each server alone, all at a time, before the run. */
  readonly warmCalls: number;
  /** For the client `proxy`: where mesh-proxy listens, and its services by what they lead to. */
  readonly proxy?: TailProxy | undefined;
}

export interface TailProxy {
  readonly port: number;
  /** To the servers together. */
  readonly service: string;
  /** To each alone, in the order of `ports`; what calls there teach says nothing about `service`. */
  readonly alone: readonly string[];
}

export interface TailClient {
  /** One call, read to its end. Rejects unless the answer is the whole right one. */
  call(): Promise<void>;
  close(): Promise<void>;
}

export interface TailServer {
  readonly port: number;
  /** Refuses connections from then on. */
  close(): Promise<void>;
}

/** Calls back when the call is to be answered, with what is wrong. */
export type Answer = (done: (failed: boolean) => void) => void;

export interface TailProtocol {
  open(load: TailLoad): TailClient;
  serve(answer: Answer): Promise<TailServer>;
}

export async function load(protocol: Protocol): Promise<TailProtocol> {
  return protocol === "grpc" ? await import("./tail-grpc.ts") : await import("./tail-http.ts");
}
