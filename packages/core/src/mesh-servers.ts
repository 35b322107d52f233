/** The servers of a mesh, for those who ask whether requests should come to this process, and what its servers do. */

/** One server, as it is at the moment of asking. */
export interface ServerOfMesh {
  readonly name: string;
  readonly protocol: string;
  readonly posture: string;
  readonly state: "open" | "draining" | "closing" | "closed";
  /** `ok`, or why requests should not come here; `readinessOf` adds what only the server of its protocol knows. */
  readonly readiness: string;
  readonly requestsInFlight: number;
  /** What was not served or was cut short, by reason. */
  readonly refused: Readonly<Record<string, number>>;
  /** How long a drain goes on serving before it asks callers to leave and closes what is idle. */
  readonly leavesAfterMs: number;
  /** What the configuration says and the server does not do before it is made anew. */
  readonly pending: readonly string[];
  /** Why what its certificate files or its identity source say is not used. */
  readonly problem: string | undefined;
  /** Asked for by those who look at it: what only the server of that protocol knows. */
  facts(): ServerFacts;
}

export interface ServerFacts {
  /** Open connections; undefined: it cannot know. */
  readonly connections?: number | undefined;
  /** Sessions of HTTP/2 among them. */
  readonly sessions?: number | undefined;
  /** The path on which it says whether it is ready; undefined: on none. */
  readonly readyPath?: string | undefined;
  /** Why requests should not come to it although nothing else stands against that; undefined: nothing does. */
  readonly notReady?: string | undefined;
}

/** Why requests should not come to this process. */
export interface NotReady {
  /** Undefined: it is the mesh itself. */
  readonly server: string | undefined;
  readonly reason: string;
}

export function readinessOf(server: ServerOfMesh): string {
  const { readiness } = server;
  return readiness === "ok" ? (server.facts().notReady ?? readiness) : readiness;
}

export class MeshServers {
  readonly #open = new Set<ServerOfMesh>();
  /** The one that closed last. Its name alone: a server that has closed can be collected. */
  #lastClosed: string | undefined = undefined;

  /** The function that is returned is called when it has closed. One that listens once more is added again. */
  add(server: ServerOfMesh): () => void {
    this.#open.add(server);
    return () => {
      if (this.#open.delete(server)) this.#lastClosed = server.name;
    };
  }

  get list(): readonly ServerOfMesh[] {
    return [...this.#open];
  }

  /** Empty where every server is ready, or there never was one. A process whose last server has closed is not. */
  get notReady(): readonly NotReady[] {
    if (this.#open.size === 0) {
      const server = this.#lastClosed;
      return server === undefined ? [] : [{ server, reason: "closed" }];
    }
    return [...this.#open].flatMap((one) => {
      const reason = readinessOf(one);
      return reason === "ok" ? [] : [{ server: one.name, reason }];
    });
  }
}
