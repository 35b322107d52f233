/** Another host: a server in a network namespace beyond a pair of veth devices, `ours` and `theirs`. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";

const OUR_IP = "10.99.0.1";
const THEIR_IP = "10.99.0.2";
const PORT = 8_080;

/** Ends with its parent: whatever happens to us, our end of the pipe is closed. */
const WITH_PARENT = `process.stdin.on("end", () => process.exit()).resume();`;
const SERVER = `
  require("node:http").createServer((request, response) => {
    if (request.url === "/stream") return response.write("first");
    if (request.url === "/large") return response.end(Buffer.alloc(100_000));
    let bytes = 0;
    request.on("data", (chunk) => (bytes += chunk.length));
    request.on("end", () => response.end(String(bytes)));
  })
`;

/** Of a service: it first, as long as it can be reached, and one that is near. */
export function farFirst(nearPort: number) {
  return {
    discovery: {
      static: [
        { host: THEIR_IP, port: PORT },
        { host: "127.0.0.1", port: nearPort, weight: 0 },
      ],
    },
    timeouts: { requestMs: 5_000, backendRequestMs: 1_000, connectMs: 300 },
  };
}

export class OtherHost {
  readonly address: string = `${THEIR_IP}:${PORT}`;
  readonly #server: ChildProcess;

  constructor(server: ChildProcess) {
    this.#server = server;
  }

  /** `source`: a CommonJS expression that is a server, not listening yet. Default: one of HTTP/1.1. */
  static async start(source: string = SERVER): Promise<OtherHost> {
    const text = `${WITH_PARENT}
      const server = ${source.trim()};
      server.listen(${PORT}, "0.0.0.0", () => console.log("ready"));`;
    const server = spawn("unshare", ["--net", process.execPath, "-e", text], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    await once(server.stdout, "data");
    const host = new OtherHost(server);
    host.here("link", "set", "lo", "up");
    host.here("link", "add", "ours", "type", "veth", "peer", "name", "theirs", "netns", host.pid);
    host.here("addr", "add", `${OUR_IP}/24`, "dev", "ours");
    host.there("addr", "add", `${THEIR_IP}/24`, "dev", "theirs");
    // One packet a segment: a veth pair would hand over what was never cut into packets.
    host.here("link", "set", "ours", "gso_max_segs", "1", "up");
    host.there("link", "set", "theirs", "gso_max_segs", "1", "up");
    // A host that is gone must not be noticed by its silence to ARP.
    const { address } = (
      JSON.parse(host.there("-j", "link", "show", "theirs")) as { address: string }[]
    )[0]!;
    host.here("neigh", "replace", THEIR_IP, "lladdr", address, "nud", "permanent", "dev", "ours");
    return host;
  }

  /** Of a process in its namespace. */
  get pid(): string {
    return String(this.#server.pid);
  }

  /** `ip` on our side. */
  here(...args: readonly string[]): string {
    return execFileSync("ip", args, { encoding: "utf8" });
  }

  /** `ip` on theirs. */
  there(...args: readonly string[]): string {
    return execFileSync("nsenter", ["-t", this.pid, "-n", "ip", ...args], { encoding: "utf8" });
  }

  /** From now on nothing reaches it, and nothing comes from it. */
  vanish(): void {
    this.there("link", "set", "theirs", "down");
  }

  /** Packets above `bytes` are lost on their way there, or on their way here, without a word. */
  loseLarge(direction: "there" | "here", bytes: number): void {
    // The receiver takes less than it says; its advertised segment size says nothing of it.
    if (direction === "there") {
      this.there(
        "route",
        "change",
        "10.99.0.0/24",
        "dev",
        "theirs",
        "src",
        THEIR_IP,
        "advmss",
        "1460",
      );
      this.there("link", "set", "theirs", "mtu", String(bytes));
    } else {
      this.here("route", "change", "10.99.0.0/24", "dev", "ours", "src", OUR_IP, "advmss", "1460");
      this.here("link", "set", "ours", "mtu", String(bytes));
    }
  }

  loseNothing(): void {
    this.there("link", "set", "theirs", "mtu", "1500");
    this.here("link", "set", "ours", "mtu", "1500");
  }

  async stop(): Promise<void> {
    this.#server.kill("SIGKILL");
    await once(this.#server, "exit");
  }
}
