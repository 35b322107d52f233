/** A scenario of the parity suite: one script, whatever stands between its caller and its servers. */
import type { Bench, Way } from "./bench.ts";
import type { Kind } from "./kind.ts";

export interface Scenario {
  /** `area: what happens`. */
  readonly id: string;
  readonly kind: Kind;
  /** Versions of HTTP between the mesh and the servers that it is played with. Default: both. */
  readonly up?: readonly (1 | 2)[];
  /** … between caller and proxy, or server. Default: both. */
  readonly down?: readonly (1 | 2)[];
  /** Names of facts that are not the same twice, because time or chance decides them. */
  readonly varies?: RegExp;
  run(bench: Bench): Promise<void>;
}

/** The ways through the library that a scenario runs, each with those through the proxy that are compared with it. */
export function waysOf({
  kind,
  up = [1, 2],
  down = [1, 2],
}: Scenario): { library: Way; proxies: Way[] }[] {
  // A call in a program has nothing on its near side; a server of the library has nothing on its far side.
  if (kind === "inbound") {
    return down.map((near) => ({
      library: { side: "library", down: near, up: 1 },
      proxies: up.map((far) => ({ side: "proxy", down: near, up: far })),
    }));
  }
  if (kind === "grpc" || kind === "grpc-inbound") {
    return [
      {
        library: { side: "library", down: 2, up: 2 },
        proxies: [{ side: "proxy", down: 2, up: 2 }],
      },
    ];
  }
  if (kind === "outbound") {
    return up.map((far) => ({
      library: { side: "library", down: 1, up: far },
      proxies: down.map((near) => ({ side: "proxy", down: near, up: far })),
    }));
  }
  return up.flatMap((far) =>
    down.map((near) => ({
      library: { side: "library", down: near, up: far },
      proxies: [{ side: "proxy", down: near, up: far }],
    })),
  );
}

export const shownWay = ({ side, down, up }: Way): string =>
  side === "library" ? `library to HTTP/${up}` : `P${down}${up}`;
