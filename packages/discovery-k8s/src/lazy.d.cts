import type * as Undici from "undici";
import type * as Yaml from "yaml";

export function loadUndici(): {
  readonly Client: typeof Undici.Client;
  readonly buildConnector: typeof Undici.buildConnector;
};
export function loadYaml(): typeof Yaml;
