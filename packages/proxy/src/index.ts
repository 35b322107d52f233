/** `mesh-proxy`: the mesh of inmesh as a process of its own, for services that are not written in Node. */
export { startProxy } from "./proxy.ts";
export type {
  ListenerMode,
  ListenerOptions,
  ProxyListener,
  ProxyOptions,
  RunningProxy,
  SpokenProtocol,
} from "./listener.ts";
