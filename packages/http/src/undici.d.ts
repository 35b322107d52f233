/** The modules of undici that we load by path, see client/undici.ts; they have the types of its index. */
declare module "undici/lib/dispatcher/pool.js" {
  export { Pool as default } from "undici";
}
declare module "undici/lib/dispatcher/client.js" {
  export { Client as default } from "undici";
}
declare module "undici/lib/dispatcher/agent.js" {
  export { Agent as default } from "undici";
}
declare module "undici/lib/core/errors.js" {
  export { errors as default } from "undici";
}
declare module "undici/lib/core/symbols.js" {
  const symbols: { kDispatch: symbol; kClose: symbol; kDestroy: symbol };
  export default symbols;
}
declare module "undici/lib/core/util.js" {
  const util: {
    assertRequestHandler(handler: unknown, method: string, upgrade: unknown): void;
    serializePathWithQuery(path: string, query: object): string;
    toRawHeaders(headers: object): Buffer[];
    parseHeaders(raw: readonly Buffer[]): Record<string, string | string[]>;
  };
  export default util;
}
declare module "undici/lib/dispatcher/dispatcher-base.js" {
  import type { Dispatcher } from "undici";
  const DispatcherBase: abstract new () => Dispatcher & {
    readonly closed: boolean;
    readonly destroyed: boolean;
  };
  export default DispatcherBase;
}
