/**
 * The options of one server: those that code gives, else those of `servers.<name>` in its mesh's configuration, else
 * the defaults. Limits that are looked at for each request or connection follow a change of the configuration; what a
 * server takes when it is made stays, and is named in `pending` until there is a new one.
 */
import { parsedNameOf } from "../config/field.ts";
import { SERVER_FIELDS } from "../config/fields.ts";
import type { ServerConfig } from "../capability-options.ts";
import { safeLog, type Log } from "../log.ts";
import type { Mesh } from "../mesh.ts";
import { withinDescriptors } from "./descriptors.ts";
import { limitsOver, type SharedLimits } from "./limits.ts";

/** Options that a section of the configuration may say as well. */
interface GivenOptions<L> {
  readonly name?: string;
  readonly mesh?: Mesh;
  readonly log?: Log;
  readonly limits?: Partial<L>;
}

const LIVE: ReadonlySet<string> = new Set(
  SERVER_FIELDS.filter((field) => field.live === true).map(parsedNameOf),
);
const NOTHING: ServerConfig = { limits: {} };

export class ServerSettings<O extends GivenOptions<L>, L extends SharedLimits> {
  /** What code says, over the section as it was when the server was made. */
  readonly options: O;
  /** In force. One object for the life of the server, so that its readers see changes. */
  readonly limits: L;
  /** What the configuration says differently, and a running server cannot take: `limits.maxHeaderBytes`. */
  pending: readonly string[] = [];
  readonly name: string;
  readonly log: Log;
  readonly #given: O;
  readonly #defaults: L;
  readonly #made: ServerConfig;
  #changed: () => void = () => {};
  #unwatch: (() => void) | undefined = undefined;

  /** Throws a RangeError for limits in code that are none. `owner`: the function that got the options. */
  constructor(owner: string, given: O, defaults: L) {
    limitsOver(owner, defaults, given.limits);
    this.name = given.name ?? "server";
    this.log = safeLog(given.log ?? given.mesh?.log);
    this.#given = given;
    this.#defaults = defaults;
    this.#made = this.#section;
    const { limits: _limits, ...said } = this.#made;
    const own = Object.entries(given).filter(([, value]) => value !== undefined);
    this.options = { ...said, ...Object.fromEntries(own) } as O;
    this.limits = this.#wanted();
  }

  /** From now on changes of the configuration count; `changed` is called for those of limits. */
  follow(changed: () => void = this.#changed): void {
    this.#changed = changed;
    if (this.#unwatch !== undefined) return;
    this.#unwatch = this.#given.mesh?.config.subscribe(() => this.#apply());
    this.#apply();
  }

  /** Called when the server has closed: the configuration is no longer followed. */
  close(): void {
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  get #section(): ServerConfig {
    const servers = this.#given.mesh?.config.current.servers;
    return servers?.[this.name] ?? NOTHING;
  }

  #wanted(): L {
    const said: Readonly<Record<string, number>> = this.#section.limits;
    const given = (this.#given.limits ?? {}) as Readonly<Record<string, number>>;
    // Nothing is added to the copy: V8 keeps it an object whose fields are read by their place.
    const wanted: Record<string, number> = { ...this.#defaults };
    for (const name of Object.keys(wanted))
      wanted[name] = given[name] ?? said[name] ?? wanted[name]!;
    return withinDescriptors(wanted as unknown as L);
  }

  #apply(): void {
    const pending: string[] = [];
    let changes = false;
    const limits = this.limits as unknown as Record<string, number>;
    for (const [name, value] of Object.entries(this.#wanted())) {
      if (limits[name] === value) continue;
      if (!LIVE.has(name)) pending.push(`limits.${name}`);
      else {
        limits[name] = value;
        changes = true;
      }
    }
    const { limits: _now, ...section } = this.#section;
    const { limits: _then, ...made } = this.#made;
    const given = this.#given as Readonly<Record<string, unknown>>;
    for (const name of new Set([...Object.keys(section), ...Object.keys(made)])) {
      const [now, before] = [section, made].map((one) => JSON.stringify(Reflect.get(one, name)));
      if (now !== before && given[name] === undefined) pending.push(name);
    }
    const isNews = pending.join() !== this.pending.join();
    this.pending = pending;
    if (changes) this.#changed();
    if (pending.length > 0 && isNews) this.#report(pending);
  }

  #report(pending: readonly string[]): void {
    const message = `${this.name}: the configuration says something else of ${pending.join(", ")}, which a server takes when it is made: it counts from the next start`;
    this.log({ level: "warn", event: "server.pending", message });
  }
}
