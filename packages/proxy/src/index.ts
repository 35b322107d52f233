/** `mesh-proxy`: the mesh of inmesh as a process of its own, for services that are not written in Node. */
export { startProxy } from "./proxy.ts";
export { listenProxy, type ListeningProxy, type ListenProxyOptions } from "./serve/listen-proxy.ts";
export { ListenError } from "./listen/listen-error.ts";
export {
  PROXY_SECTION as proxySection,
  type ListenerConfig,
  type ProxyConfig,
} from "./serve/section.ts";
export type {
  ListenerLimits,
  ListenerMode,
  ListenerOptions,
  ProxyListener,
  ProxyOptions,
  RunningProxy,
  SpokenProtocol,
} from "./listener.ts";
