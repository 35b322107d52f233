import type * as Undici from "undici";

export function loadUndici(): {
  readonly Client: typeof Undici.Client;
  readonly buildConnector: typeof Undici.buildConnector;
};
