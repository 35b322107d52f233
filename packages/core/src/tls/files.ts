/**
 * The certificates of one service that is called, and the context that its connections are made with:
 * the last good ones, or, before there are any, one that dials nothing and says why.
 */
import type { ServiceConfig } from "../config/types.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { TlsContext } from "./context.ts";
import { TlsFollower } from "./follow.ts";

export class TlsFiles {
  /** In force. Set while there are users. */
  context!: TlsContext;
  readonly #service: ServiceConfig;
  readonly #follower: TlsFollower;

  constructor(service: ServiceConfig, runtime: Runtime) {
    const { tls, drainGraceMs } = service;
    this.#service = service;
    this.#follower = new TlsFollower({
      tls,
      drainGraceMs,
      runtime,
      take: (pem) => {
        this.context = new TlsContext(service, pem);
      },
    });
  }

  /** Why the files in place are not used; undefined: they are. */
  get problem(): string | undefined {
    return this.#follower.problem;
  }

  /** Starts following with the first user. `onChange`: make new connections. Call what it returns once. */
  use(onChange: () => void): () => void {
    const stop = this.#follower.use(onChange);
    if (this.#follower.pem === undefined) {
      this.context = TlsContext.missing(this.#service, this.problem ?? "");
    }
    return stop;
  }
}
