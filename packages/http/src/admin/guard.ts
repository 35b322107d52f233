/**
 * Who may ask: requests that a web page of elsewhere can make a browser send are refused before anything else is
 * looked at, and so are those that reach this listener by a foreign name (DNS rebinding).
 */
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { InspectionError } from "@inmesh/core/spi/inspect";

/** They stand once in a request, or what two readers of it understand may differ. */
const ONCE: ReadonlySet<string> = new Set([
  "host",
  "authorization",
  "origin",
  "content-type",
  "content-length",
  "sec-fetch-site",
]);

export class Guard {
  readonly #hosts: ReadonlySet<string>;
  readonly #isSocket: boolean;

  /** `hosts`: names and addresses beside those of this machine. `isSocket`: it listens on a path. */
  constructor(hosts: readonly string[], isSocket: boolean) {
    this.#hosts = new Set(["localhost", ...hosts.map((host) => host.toLowerCase())]);
    this.#isSocket = isSocket;
  }

  /** Throws an InspectionError for a request that is refused. `writes`: it may change something. */
  check(request: IncomingMessage, writes: boolean): void {
    checkForm(request);
    const { host, origin } = request.headers;
    // Who opens a socket of this machine by its path was given that path, and there is no name to be mistaken in.
    if (!this.#isSocket) this.#checkHost(host, request.socket.localAddress);
    if (origin !== undefined && origin !== `http://${host}`) {
      throw new InspectionError(
        "origin_refused",
        "the request comes from a web page of another origin",
        "ask with a program, or from a page of this listener",
      );
    }
    const site = request.headers["sec-fetch-site"];
    const isOwn = site === undefined || site === "same-origin" || (site === "none" && !writes);
    if (isOwn) return;
    throw new InspectionError(
      "origin_refused",
      "a browser says that the request comes from another site",
      "ask with a program, or from a page of this listener",
    );
  }

  #checkHost(host: string | undefined, localAddress: string | undefined): void {
    const name = nameOf(host);
    if (name !== undefined) {
      if (this.#hosts.has(name)) return;
      // An address cannot be made to lead elsewhere, as a name can.
      if (isIP(name) !== 0 && (isLoopback(name) || name === plainAddress(localAddress))) return;
    }
    throw new InspectionError(
      "host_refused",
      "the Host header does not name this listener",
      "use localhost or the address, or add the name to hosts of mesh.admin.listen",
    );
  }
}

function checkForm({ rawHeaders, url = "" }: IncomingMessage): void {
  const seen = new Set<string>();
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    if (!ONCE.has(name)) continue;
    if (seen.has(name)) {
      throw new InspectionError("bad_request", `the header ${name} stands twice`, "send it once");
    }
    seen.add(name);
  }
  if (url.startsWith("/") && !url.startsWith("//")) return;
  throw new InspectionError(
    "bad_request",
    "the target of the request must be a path",
    "send it as GET /api/v1/about",
  );
}

/** Without port and brackets, in lower case; undefined: it is none. */
function nameOf(host: string | undefined): string | undefined {
  const found = /^(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::\d{1,5})?$/i.exec(host ?? "");
  return (found?.[1] ?? found?.[2])?.toLowerCase();
}

export function isLoopback(address: string): boolean {
  return address === "::1" || (isIP(address) === 4 && address.startsWith("127."));
}

/** `::ffff:127.0.0.1` is 127.0.0.1. */
function plainAddress(address: string | undefined): string | undefined {
  return address?.replace(/^::ffff:(?=\d+\.)/, "").toLowerCase();
}
