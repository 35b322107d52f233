/** For tests of transports, discovery sources and applications. */
export { SimRuntime } from "./sim-runtime.ts";
export { StubRequest, StubReply, stubProtocol, type StubServer } from "./stub-transport.ts";
