/**
 * What a scenario plays. `outbound`: an application calls services. `inbound`: an application is called. `hop`: a request that is served is
 * forwarded to a service. `grpc`: an application calls services over gRPC. `grpc-inbound`: an application of gRPC is called.
 */
export type Kind = "outbound" | "inbound" | "hop" | "grpc" | "grpc-inbound";

/** An application is called, and nothing else. */
export const isInbound = (kind: Kind): boolean => kind === "inbound" || kind === "grpc-inbound";
