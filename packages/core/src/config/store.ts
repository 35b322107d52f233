/**
 * The configuration in force of one mesh: what the sources said at creation, plus what clients say
 * when they open a service. A mesh that was told nothing parses nothing.
 */
import { DEFAULT_POLICIES } from "./defaults.ts";
import { unknownKeyRule } from "./did-you-mean.ts";
import type { MeshInput, ServiceInput } from "./input.ts";
import { loadConfig } from "./load.ts";
import { mergeConfig } from "./merge.ts";
import { ConfigError, makeMistake } from "./mistakes.ts";
import { defaultServiceConfig, parseUrlTarget } from "./target.ts";
import { Cell, type Watch } from "../watch/watch.ts";
import type { MeshConfig, ServiceConfig } from "./types.ts";

export interface StoreOptions {
  readonly config?: MeshInput | undefined;
  readonly configFile?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

export class ConfigStore {
  /** The configuration in force. One assignment replaces it. */
  readonly current: Watch<MeshConfig>;
  /** Goes up by one with every configuration taken into force. */
  version = 1;
  readonly #options: StoreOptions;
  /** Services that clients described themselves, with the text of what they said. */
  readonly #opened = new Map<string, { config: ServiceConfig; said: string }>();

  constructor(options: StoreOptions) {
    this.#options = options;
    this.current = new Cell<MeshConfig>(
      saysNothing(options)
        ? { services: {}, defaults: DEFAULT_POLICIES }
        : loadConfig({ code: options.config, file: options.configFile, env: options.env }).config,
    );
  }

  get #config(): MeshConfig {
    return this.current.current;
  }

  /** Throws ConfigError if the name is unknown, or `input` is invalid or differs from an earlier one. */
  serviceFor(nameOrUrl: string | URL, input?: ServiceInput): ServiceConfig {
    const text = String(nameOrUrl);
    const known = this.#opened.get(text);
    const said = input === undefined ? "" : JSON.stringify(input);
    if (known !== undefined && (said === "" || said === known.said)) return known.config;
    const config = this.#find(text, input);
    if (input !== undefined || !Object.hasOwn(this.#config.services, config.name)) {
      for (const key of [text, config.name]) {
        const before = this.#opened.get(key);
        if (before !== undefined && said !== "" && before.said !== said) {
          const rule =
            "was opened with other options before; give them once, or in the configuration";
          throw new ConfigError([makeMistake(["services", config.name], rule, input, "code")]);
        }
        if (before === undefined) this.#opened.set(key, { config, said });
      }
    }
    return config;
  }

  #find(text: string, input: ServiceInput | undefined): ServiceConfig {
    let name = text;
    let url: string | undefined;
    if (text.includes("://")) {
      const read = parseUrlTarget(text);
      if (!read.ok) throw new ConfigError(read.mistakes);
      name = read.target.name;
      url = text;
      if (input === undefined && !Object.hasOwn(this.#config.services, name)) {
        const defaults = this.#config.defaults;
        return defaultServiceConfig(read.target, defaults);
      }
    }
    if (input !== undefined) {
      const extra = { services: { [name]: url === undefined ? input : { url, ...input } } };
      const { config } = loadConfig({
        code: mergeConfig([
          { origin: "code", input: this.#options.config ?? {} },
          { origin: "code", input: extra },
        ]).input,
        file: this.#options.configFile,
        env: this.#options.env,
      });
      return config.services[name]!;
    }
    if (Object.hasOwn(this.#config.services, name)) return this.#config.services[name]!;
    const names = Object.keys(this.#config.services);
    const hint = names.length > 0 ? unknownKeyRule(name, names) : "is not configured";
    const rule = `${hint}; give meshClient a URL such as http://${/^[\w.-]+$/.test(name) ? name : "orders"}:8080, name it under "services" in the file of INMESH_CONFIG, or set INMESH_SERVICE_…`;
    throw new ConfigError([makeMistake(["services", name], rule, name, "code")]);
  }
}

function saysNothing({ config, configFile, env = process.env }: StoreOptions): boolean {
  if (config !== undefined || configFile !== undefined) return false;
  for (const key in env) {
    if (key.startsWith("INMESH_") && env[key] !== undefined) return false;
  }
  return true;
}
