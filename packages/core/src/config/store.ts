/**
 * The configuration in force of one mesh, and what it is made of: a layer of each source, and what
 * clients said when they opened services. A change is proposed first (`propose`: everything is
 * validated, nothing happens) and then taken into force (`accept`: one assignment). Parts that are
 * equal keep their objects, so a comparison by identity finds what has changed. A mesh that was
 * given nothing parses nothing.
 */
import { isDeepStrictEqual } from "node:util";
import { Cell, type Watch } from "../watch/watch.ts";
import { DEFAULT_POLICIES } from "./defaults.ts";
import { unknownKeyRule } from "./did-you-mean.ts";
import type { ServiceInput } from "./input.ts";
import { type LoadedConfig, loadLayers } from "./load.ts";
import { type LocatedLayer, mergeConfig, type MergedConfig, type Place, placeIn } from "./merge.ts";
import { ConfigError, makeMistake, type PathPart } from "./mistakes.ts";
import { assertNameOrUrl } from "./options.ts";
import { copyPlain, emptyRaw, isRaw, type Raw, rawOf } from "./plain.ts";
import { type Rank, RANKS, type SourceRank } from "./ranks.ts";
import type { Known } from "./section.ts";
import {
  defaultServiceConfig,
  type FindUnconfigured,
  isPeerByUrl,
  parseUrlTarget,
  schemeConflict,
  type ServiceTarget,
  type Unconfigured,
} from "./target.ts";
import type { MeshConfig, ServiceConfig, ServicePolicies } from "./types.ts";

/** What each source says, by its rank; left out where there is none. */
export type Layers = Readonly<Partial<Record<SourceRank, LocatedLayer>>>;

/** Who has written a value, and where: `mesh.explain`. */
export interface ConfigOrigin extends Place {
  readonly rank: Rank;
}

/** A whole configuration that is valid and not yet in force. */
export interface Proposal {
  readonly config: MeshConfig;
  /** Something differs from what is in force. */
  readonly changes: boolean;
  readonly layers: Layers;
  readonly opened: ReadonlyMap<string, Opened>;
}

/** A service that a client gave a URL or options. */
export interface Opened {
  readonly name: string;
  readonly url: string | undefined;
  readonly target: ServiceTarget | undefined;
  readonly input: ServiceInput | undefined;
  /** The text of `input`: asking again with another one is a mistake. */
  readonly said: string;
  /** Undefined: a source, the URL or the options say where it is. */
  readonly unconfigured?: Unconfigured | undefined;
  /** Where the application has given it, as a line of a stack; undefined if that cannot be known. */
  readonly place?: string | undefined;
}

/** The function that an application opens services with: what has called it is the place. */
export type Opener = (...args: never[]) => unknown;

export class ConfigStore {
  /** Goes up by one with every change of what the sources say. */
  version = 1;
  readonly #current: Cell<MeshConfig>;
  #layers: Layers;
  #opened: ReadonlyMap<string, Opened> = new Map();
  /** URLs of clients whose service a source describes: its scheme may not change under them. */
  readonly #askedUrls = new Map<string, { readonly target: ServiceTarget }>();
  /** Services that only a URL describes, made for the defaults in force. */
  readonly #byUrl = new Map<string, { defaults: ServicePolicies; config: ServiceConfig }>();

  readonly #known: Known;
  readonly #findUnconfigured: FindUnconfigured;

  /** `findUnconfigured`: asked for names that nothing describes. Throws ConfigError if the layers are not valid. */
  constructor(layers: Layers, known: Known, findUnconfigured: FindUnconfigured) {
    this.#known = known;
    this.#findUnconfigured = findUnconfigured;
    this.#layers = ownLayers(layers);
    const nothing = Object.keys(layers).length === 0;
    this.#current = new Cell<MeshConfig>(
      nothing
        ? { services: {}, defaults: DEFAULT_POLICIES }
        : this.#load(this.#layers, this.#opened).config,
    );
  }

  /** The configuration in force. One assignment replaces it. */
  get current(): Watch<MeshConfig> {
    return this.#current;
  }

  /** Validates other layers together with all that stay. Throws ConfigError with every mistake. */
  propose(change: Layers): Proposal {
    return this.#propose({ ...this.#layers, ...ownLayers(change) }, this.#opened);
  }

  #propose(layers: Layers, opened: ReadonlyMap<string, Opened>): Proposal {
    const before = this.#current.current;
    const { config: loaded, described } = this.#load(layers, opened);
    const asked = [...opened.values()].filter(({ url }) => url !== undefined);
    for (const target of [...asked, ...this.#askedUrls.values()].map((o) => o.target)) {
      const rule = target && schemeConflict(target, described);
      if (target !== undefined && rule !== undefined) throw schemeError(target, rule);
    }
    const config = keepEqual(loaded, before);
    return { config, changes: config !== before, layers, opened };
  }

  /** Puts a proposal in force. */
  accept(proposal: Proposal): void {
    this.#layers = proposal.layers;
    this.#opened = proposal.opened;
    if (!proposal.changes) return;
    this.version++;
    this.#current.set(proposal.config);
  }

  /**
   * The name of a service that a client asks for, and a proposal if it says something new about it.
   * Throws ConfigError if the name is unknown, if `input` is invalid or differs from an earlier one,
   * or if the URL has another scheme than the service: nothing may go out in clear text that was
   * asked for with TLS, whichever of the two came first.
   */
  open(
    nameOrUrl: string | URL,
    input: ServiceInput | undefined,
    opener?: Opener,
  ): { readonly name: string; readonly proposal?: Proposal } {
    assertNameOrUrl(nameOrUrl);
    const text = String(nameOrUrl);
    const target = text.includes("://") ? targetOf(text) : undefined;
    const name = target?.name ?? text;
    const known = this.#opened.get(name);
    // One that was opened before was looked at then, and with every change since.
    if (target !== undefined && known?.url !== text) {
      const rule = schemeConflict(target, this.#everyService());
      if (rule !== undefined) throw schemeError(target, rule);
    }
    const said = input === undefined ? "" : JSON.stringify(input);
    const differs =
      known?.input === undefined || said === "" ? [] : differences(known.input, input!);
    if (differs.length > 0) throw contradiction(name, differs, known?.place);
    const url = target === undefined ? known?.url : text;
    if (said === "" || known?.input !== undefined) {
      if (this.find(name) !== undefined) {
        if (target !== undefined && known?.url !== text) this.#askedUrls.set(name, { target });
        return { name };
      }
      const unconfigured = target === undefined ? this.#unconfigured(name) : undefined;
      const one = { name, url, target: target ?? unconfigured?.target, unconfigured };
      this.#opened = new Map(this.#opened).set(name, { ...one, input: undefined, said });
      return { name };
    }
    const own = ownCopy(input);
    const place = opener && callerOf(opener);
    const { services } = this.#current.current;
    const isDescribed = target !== undefined || hasTarget(own) || Object.hasOwn(services, name);
    const unconfigured = isDescribed
      ? undefined
      : (known?.unconfigured ?? this.#unconfigured(name));
    const one = { name, url, target: target ?? unconfigured?.target, unconfigured };
    const opened = new Map(this.#opened).set(name, { ...one, input: own, said, place });
    const proposal = this.#propose(this.#layers, opened);
    if (!Object.hasOwn(proposal.config.services, name)) throw this.#unknown(name);
    return { name, proposal };
  }

  /** A service of `config`, default the one in force; undefined if nothing describes it. */
  find(name: string, config: MeshConfig = this.#current.current): ServiceConfig | undefined {
    if (Object.hasOwn(config.services, name)) return config.services[name];
    const target = this.#opened.get(name)?.target;
    if (target === undefined) return undefined;
    const made = this.#byUrl.get(name);
    if (made?.defaults === config.defaults) return made.config;
    const { defaults } = config;
    const service = defaultServiceConfig(target, defaults);
    this.#byUrl.set(name, { defaults, config: service });
    return service;
  }

  /** In force: what sources describe, and what only a URL does. */
  *#everyService(): Iterable<ServiceConfig> {
    const { services } = this.#current.current;
    yield* Object.values(services);
    for (const name of this.#opened.keys()) {
      const service = Object.hasOwn(services, name) ? undefined : this.find(name);
      if (service !== undefined) yield service;
    }
  }

  /**
   * Who has written the value in force at a path of the parsed configuration. Lays the layers together anew,
   * so that nothing is kept for it.
   */
  explain(path: readonly PathPart[]): ConfigOrigin {
    return this.origins()(path);
  }

  /** The same for many paths: the layers are laid together once. */
  origins(): (path: readonly PathPart[]) => ConfigOrigin {
    const said = mergeConfig(inOrder(this.#layers));
    const clients = layerOfClients(this.#opened, servicesIn(said));
    const merged = clients === undefined ? said : mergeConfig(inOrder(this.#layers, clients));
    return (path) => this.#originOf(path, merged);
  }

  #originOf(path: readonly PathPart[], merged: MergedConfig): ConfigOrigin {
    const [section, name = "", ...rest] = path;
    const isUrls = rest.length > 0 && OF_URL.has(String(rest[0]));
    const paths =
      section !== "services"
        ? [path]
        : [path, ...(isUrls ? [["services", name, "url"]] : []), ["defaults", ...rest]];
    for (const written of paths.filter(({ length }) => length > 1)) {
      const layer = merged.writer(written);
      if (layer === undefined) continue;
      const rank = RANKS.find((one) => Reflect.get(this.#layers, one) === layer) ?? "code";
      return { rank, ...placeIn(layer, written) };
    }
    // A service that only the URL of a client describes.
    const opened = isUrls ? this.#opened.get(String(name)) : undefined;
    if (opened !== undefined && opened.unconfigured === undefined) {
      return { rank: "code", origin: "code" };
    }
    return { rank: "default", origin: "default" };
  }

  #load(layers: Layers, opened: ReadonlyMap<string, Opened>): Loaded {
    const loaded = (from: MergedConfig): LoadedConfig => loadLayers(from, this.#known);
    const merged = mergeConfig(inOrder(layers));
    const named = servicesIn(merged);
    const clients = layerOfClients(opened, named);
    if (clients === undefined) {
      const { config } = loaded(merged);
      return { config, described: Object.values(config.services) };
    }
    const { config } = loaded(mergeConfig(inOrder(layers, clients)));
    // A URL of a client takes the place of what a source says about that name, scheme included.
    const overwritten = [...opened.values()].some(
      ({ name, url, input }) => input !== undefined && url !== undefined && hasTarget(named[name]),
    );
    const before = overwritten ? loaded(merged).config : config;
    const described = Object.keys(named).flatMap((name) => before.services[name] ?? []);
    return { config, described };
  }

  /** Throws ConfigError if there is nothing. */
  #unconfigured(name: string): Unconfigured {
    const found = this.#findUnconfigured(name);
    if (typeof found === "object") return found;
    throw this.#unknown(name, found);
  }

  #unknown(name: string, why?: string): ConfigError {
    const names = Object.keys(this.#current.current.services);
    const hint = names.length > 0 ? unknownKeyRule(name, names) : "is not configured";
    const rule = `${hint}; give meshClient a URL such as http://${exampleFor(name)}, name it under "services" in the file of INMESH_CONFIG, or set INMESH_SERVICE_…${why === undefined ? "" : `; ${why}`}`;
    return new ConfigError([makeMistake(["services", name], rule, name, "code")]);
  }
}

interface Difference {
  readonly option: string;
  readonly before: unknown;
  readonly now: unknown;
}

/** Options that two clients of a service give different values. */
function differences(before: ServiceInput, now: ServiceInput): Difference[] {
  const [one, other] = [rawOf(before), rawOf(ownCopy(now))];
  const options = new Set([...Object.keys(one), ...Object.keys(other)]);
  return [...options].flatMap((option) => {
    const values = { option, before: one[option], now: other[option] };
    return isDeepStrictEqual(values.before, values.now) ? [] : [values];
  });
}

/** Options belong to the service, so the second of two clients that disagree is refused, in either order. */
function contradiction(
  name: string,
  differs: readonly Difference[],
  place: string | undefined,
): ConfigError {
  const who =
    place === undefined ? "by a client of this service before" : `by the client made at ${place}`;
  const mistakes = differs.map(({ option, before, now }) => {
    const remedy = `give both the same, leave the options out at one of them, which then has the other's, or say it once in the configuration, under services.${name}.${option}`;
    const rule = `was given as ${shown(option, before)} ${who}, and is ${shown(option, now)} here; options belong to the service, and all of its clients share them: ${remedy}`;
    return makeMistake(["services", name, option], rule, undefined, "code");
  });
  return new ConfigError(mistakes);
}

/** The line of the application that has called `opener`. Only services with options pay it, once each. */
function callerOf(opener: Opener): string | undefined {
  const limit = Error.stackTraceLimit;
  const holder: { stack?: unknown } = {};
  // Set without a throw where the host has frozen the intrinsics (P6): then the stack is longer.
  Reflect.set(Error, "stackTraceLimit", 1);
  try {
    Error.captureStackTrace?.(holder, opener);
    // A host may format stacks in its own way (Error.prepareStackTrace).
    const [, frame] = typeof holder.stack === "string" ? holder.stack.split("\n") : [];
    return frame === undefined ? undefined : /^\s*at (.+)$/.exec(frame)?.[1];
  } catch {
    return undefined;
  } finally {
    Reflect.set(Error, "stackTraceLimit", limit);
  }
}

/** A URL may hold a password, and what is said of TLS a key. */
function shown(option: string, value: unknown): string {
  if (value === undefined) return "nothing";
  if (option === "tls" || option === "url") return "another value";
  const text = JSON.stringify(value) ?? typeof value;
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}

/** The name as the URL that was probably meant. */
function exampleFor(name: string): string {
  if (/^[\w.-]+:\d+$/.test(name)) return name;
  return `${/^[\w.-]+$/.test(name) ? name : "orders"}:8080`;
}

interface Loaded {
  readonly config: MeshConfig;
  /** The services that sources describe, without what clients said. */
  readonly described: readonly ServiceConfig[];
}

/** What a URL says, beside itself. */
const OF_URL: ReadonlySet<string> = new Set(["discovery", "scheme", "authority"]);

/** Weakest first. `clients` have the rank of code, and the last word in it. */
function inOrder(layers: Layers, clients?: LocatedLayer): LocatedLayer[] {
  return RANKS.flatMap((rank) => {
    if (rank === "default" || rank === "call") return [];
    const both = rank === "code" ? [layers[rank], clients] : [layers[rank]];
    return both.filter((layer) => layer !== undefined);
  });
}

function servicesIn({ input }: { readonly input: unknown }): Raw {
  return rawOf(rawOf(input)["services"]);
}

/** What clients said of services; `named` are the ones of the sources. Undefined: they gave no options. */
function layerOfClients(opened: ReadonlyMap<string, Opened>, named: Raw): LocatedLayer | undefined {
  const services = emptyRaw();
  let said = false;
  for (const { name, url, target, input, unconfigured } of opened.values()) {
    if (input === undefined) continue;
    said = true;
    if (unconfigured !== undefined && !Object.hasOwn(named, name)) {
      services[name] = { discovery: unconfigured.discovery, ...input };
      continue;
    }
    // Options alone do not make a service: it goes when the source that describes it does.
    const described = Object.hasOwn(named, name) || url !== undefined || hasTarget(input);
    if (!described) continue;
    const onlyByUrl = url !== undefined && target !== undefined && !Object.hasOwn(named, name);
    const byUrl = onlyByUrl && !isPeerByUrl(target) ? { peer: false } : undefined;
    services[name] = url === undefined ? input : { url, ...byUrl, ...input };
  }
  return said ? { origin: "code", input: { services } } : undefined;
}

/** They are read again with every change, so what their source does to them later must not count. */
function ownLayers(layers: Layers): Layers {
  const own: Partial<Record<SourceRank, LocatedLayer>> = {};
  for (const rank of RANKS) {
    if (rank === "default" || rank === "call") continue;
    const layer = layers[rank];
    if (layer !== undefined) own[rank] = { ...layer, input: ownCopy(layer.input) };
  }
  return own;
}

function schemeError({ name, scheme, authority }: ServiceTarget, rule: string): ConfigError {
  const url = `${scheme}://${authority}`;
  return new ConfigError([makeMistake(["services", name], rule, url, "code")]);
}

function targetOf(url: string): ServiceTarget {
  const read = parseUrlTarget(url);
  if (!read.ok) throw new ConfigError(read.mistakes);
  return read.target;
}

function ownCopy<T>(input: T): T {
  let readable = true;
  const copy = copyPlain(input, () => (readable = false));
  // What is no plain data goes on as it is, to be refused.
  return readable ? (copy as T) : input;
}

function hasTarget(input: unknown): boolean {
  return isRaw(input) && ("url" in input || "discovery" in input);
}

/** `next`, with the objects of `before` where they are equal; `before` itself if all is. */
function keepEqual(next: MeshConfig, before: MeshConfig): MeshConfig {
  const defaults = isDeepStrictEqual(next.defaults, before.defaults)
    ? before.defaults
    : next.defaults;
  const names = Object.keys(next.services);
  let same = defaults === before.defaults && names.length === Object.keys(before.services).length;
  const services = emptyRaw() as Record<string, ServiceConfig>;
  for (const name of names) {
    const old = Object.hasOwn(before.services, name) ? before.services[name] : undefined;
    const keeps = old !== undefined && isDeepStrictEqual(next.services[name], old);
    services[name] = keeps ? old : next.services[name]!;
    same &&= keeps;
  }
  const sameServers = isDeepStrictEqual(next.servers, before.servers);
  const servers = sameServers ? before.servers : next.servers;
  const sameSections = isDeepStrictEqual(next.sections, before.sections);
  const sections = sameSections ? before.sections : next.sections;
  if (same && sameServers && sameSections) return before;
  return Object.freeze({
    services: Object.freeze(services),
    ...(servers !== undefined && { servers }),
    ...(sections !== undefined && { sections }),
    defaults,
  });
}
