/**
 * Announces one server in the registry of the machine, from when it listens until it leaves. A server without a name
 * of its own, or whose registry is off, does nothing of it, and loads nothing.
 */
import type { AddressInfo } from "node:net";
import type { Announced } from "../discovery/registry/announce.ts";
import {
  announcedAddress,
  isRegistryName,
  type RegistryEntry,
} from "../discovery/registry/entry.ts";
import type { RegistryPlace } from "../discovery/registry/place.ts";
import { messageOf } from "../errors.ts";
import { LOG_EVENTS, type Log, type LogEvent } from "../log.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** What is read of a server of Node's. */
export interface AnnouncedServer {
  address?(): AddressInfo | string | null;
}

/** What clients have to speak with it. */
export interface Speaks {
  /** `http/1.1`, `h2` by ALPN, `h2c` by prior knowledge. */
  readonly speaks: readonly string[];
  readonly tls: boolean;
}

export interface AnnouncingParts {
  /** Undefined: it was given none, and is not announced. */
  readonly name: string | undefined;
  readonly protocol: string;
  readonly runtime: Runtime;
  readonly log: Log;
  /** Asked when it listens for the first time. */
  readonly place: () => RegistryPlace;
}

export class Announcing {
  readonly #parts: AnnouncingParts;
  #dir: string | undefined = undefined;
  #isOff: boolean;
  readonly #listening = new Map<AnnouncedServer, Speaks>();
  #state: RegistryEntry["state"] = "serving";
  #announced: Announced | undefined = undefined;
  #loading = false;
  /** The addresses that the log knows of. */
  #logged = "";
  #failures = "";

  constructor(parts: AnnouncingParts) {
    this.#parts = parts;
    this.#isOff = parts.name === undefined;
  }

  listens(server: AnnouncedServer, spoken: Speaks): void {
    if (this.#isOff || !this.#place()) return;
    this.#listening.set(server, spoken);
    this.#say();
  }

  closed(server: AnnouncedServer): void {
    if (this.#listening.delete(server)) this.#say();
  }

  /** It is the last choice from now on. */
  drain(): void {
    this.#state = "draining";
    if (this.#listening.size > 0) this.#say();
  }

  /** It stops to listen. */
  end(): void {
    this.#state = "serving";
    if (this.#listening.size === 0) return;
    this.#listening.clear();
    this.#say();
  }

  /** False: there is none. */
  #place(): boolean {
    if (this.#dir !== undefined) return true;
    const { name, place } = this.#parts;
    const { dir } = place();
    this.#isOff = true;
    if (dir === undefined) return false;
    if (!isRegistryName(name!)) {
      this.#fail("its name must have at most 120 letters, digits, -, _ and . for that");
      return false;
    }
    this.#isOff = false;
    this.#dir = dir;
    return true;
  }

  #say(): void {
    const entry = this.#entry();
    if (this.#announced === undefined) {
      if (entry !== undefined && !this.#loading) void this.#load();
      return;
    }
    this.#announced.say(entry);
    if (entry !== undefined) this.#logAddresses(entry.addresses);
  }

  /** Servers that announce nothing do not pay for the code. */
  async #load(): Promise<void> {
    this.#loading = true;
    try {
      const { announcerIn } = await import("../discovery/registry/announce.ts");
      const announcer = announcerIn(this.#dir!, this.#parts.runtime);
      this.#announced = announcer.add((why) => this.#fail(why));
      this.#say();
    } catch (error) {
      this.#fail(messageOf(error));
    }
  }

  #entry(): RegistryEntry | undefined {
    const { protocol, runtime, name } = this.#parts;
    const addresses = new Set<string>();
    let spoken: Speaks | undefined;
    for (const [server, its] of this.#listening) {
      const address = announcedAddress(server.address?.() ?? null);
      if (address === undefined) continue;
      spoken ??= its;
      // What two addresses of one server speak differently cannot be said; the first counts.
      if (spoken.tls === its.tls) addresses.add(address);
    }
    if (spoken === undefined) return undefined;
    const startedAtUnixMs = Math.round(runtime.wallNow() - 1_000 * process.uptime());
    return {
      version: 1,
      name: name!,
      protocol,
      speaks: spoken.speaks,
      tls: spoken.tls,
      addresses: [...addresses],
      state: this.#state,
      pid: process.pid,
      startedAtUnixMs,
    };
  }

  #logAddresses(addresses: readonly string[]): void {
    const text = addresses.join(", ");
    if (text === this.#logged || this.#failures !== "") return;
    this.#logged = text;
    this.#log(
      "registry.announced",
      `announced to processes of this machine, at ${text} in ${this.#dir}`,
    );
  }

  /** The server serves on. */
  #fail(why: string): void {
    if (why === this.#failures) return;
    this.#failures = why;
    this.#log("registry.failed", `not announced to processes of this machine: ${why}`);
  }

  #log(event: LogEvent, text: string): void {
    const { name, log } = this.#parts;
    log({ level: LOG_EVENTS[event], event, message: `${name}: ${text}` });
  }
}
