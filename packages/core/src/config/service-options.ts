/** Options of a service that belong to no capability in particular. See option.ts. */
export const SERVICE = {
  /**
   * Watches and pools of a service that was not called for this long are dropped.
   * - Reason: Callers with a low rate keep their warm connections' addresses.
   * - Elsewhere: gRPC `grpc.client_idle_timeout_ms`
   */
  idle: { type: "duration", default: "10m", min: "1s", max: "24h", none: true },
  /**
   * How long attempts on a removed endpoint, or at close, may still take.
   * - Reason: What Kubernetes gives a pod to end.
   */
  drainGrace: { type: "duration", default: "30s", max: "1h" },
  /**
   * Believe `x-mesh-nack` in replies. Only where every endpoint is known to run inmesh.
   * - Reason: A caller who can set the header can make us send a POST again.
   */
  trustNacks: { type: "boolean", default: false },
  /**
   * The service is one of ours: `x-mesh-*` headers and the trace of the request being served go
   * to it. To others they do not, and a `user-agent` does.
   * - Reason: What a configuration names is mostly ours. Of a service that only an `https:` URL
   *   in code describes the default is `false`: it mostly belongs to a third party.
   * - No effect when no request is being served and the call has no deadline
   */
  peer: { type: "boolean", default: true },
  /**
   * HTTP/2 to the endpoints: agreed on in the TLS handshake, else HTTP/1.1; without TLS by
   * prior knowledge (h2c). At most 4 connections to an endpoint then.
   * - Reason: HTTP/1.1 costs half the CPU, and a lost connection loses one call, not a hundred.
   * - Elsewhere: Envoy `http2_protocol_options`, Kubernetes `appProtocol: kubernetes.io/h2c`
   */
  http2: { type: "boolean", default: false },
} as const;
