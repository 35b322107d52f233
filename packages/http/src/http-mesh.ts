/**
 * A mesh with the ways in of HTTP. Core's mesh knows no protocol, so what it is asked for as
 * `mesh.dispatcher`, `mesh.fetch` and so on is added here (docs/decisions/0008-doors-of-a-mesh.md).
 * Nothing of it exists before it is asked for.
 */
import type { Agent } from "node:http";
import type { Agent as HttpsAgent } from "node:https";
import {
  defaultMesh as sharedMesh,
  makeDefaultMeshBy,
  Mesh,
  type MeshOptions,
} from "@inmesh/core/spi";
import { MeshAdmin } from "./admin/admin.ts";
import { shown } from "./client/call-input.ts";
import { MeshAgent } from "./doors/agent.ts";
import type { MeshDispatcher as PublicDispatcher } from "./doors/any-dispatcher.ts";
import { MeshDispatcher } from "./doors/dispatcher.ts";
import { meshFetch, type Fetch } from "./doors/fetch.ts";
import { install } from "./doors/global.ts";

/** Throws ConfigError, with every mistake, if the configuration is not valid. */
export function createMesh(options?: MeshOptions): HttpMesh {
  return new HttpMesh(options);
}

/** Puts back what was there: call it, or let `using` do so. */
export type Installation = (() => void) & Disposable;

/** Answers that are being read as everything else has ended. */
const ADMIN_GRACE_MS = 1_000;

export class HttpMesh extends Mesh {
  #dispatcher: MeshDispatcher | undefined = undefined;
  #fetch: Fetch | undefined = undefined;
  readonly #agents: { http?: MeshAgent; https?: MeshAgent } = {};
  #installed: Installation | undefined = undefined;
  #admin: MeshAdmin | undefined = undefined;

  /**
   * An undici Dispatcher, for `setGlobalDispatcher`, `{ dispatcher }` and libraries that take one: of
   * undici 6, 7 and 8, and of the built-in fetch of every Node that inmesh runs on.
   * Requests to configured services become calls; other origins pass to a plain Agent untouched.
   */
  get dispatcher(): PublicDispatcher {
    return this.#ownDispatcher;
  }

  get #ownDispatcher(): MeshDispatcher {
    return (this.#dispatcher ??= new MeshDispatcher(this));
  }

  /**
   * WHATWG fetch, where `http://<name>` is a configured service. Gives a Response of the process. A
   * `dispatcher` in `init` takes the place of the mesh's.
   */
  get fetch(): Fetch {
    return (this.#fetch ??= meshFetch(this.#ownDispatcher));
  }

  /**
   * An `http.Agent` for callers of node:http, axios, got and others: `{ agent: mesh.agent() }`.
   * `"https"` gives the one for `https:` URLs. Every request to a configured service goes to an
   * endpoint that the balancer picks, under the service's limits, deadline, breakers and metrics; an
   * Agent cannot retry what was sent. The same scheme gives the same agent.
   */
  agent(scheme?: "http"): Agent;
  agent(scheme: "https"): HttpsAgent;
  agent(scheme: "http" | "https" = "http"): Agent | HttpsAgent {
    if (scheme !== "http" && scheme !== "https") {
      throw new TypeError(`mesh.agent: takes "http" or "https", got ${shown(scheme)}`);
    }
    return (this.#agents[scheme] ??= new MeshAgent(this, scheme));
  }

  /**
   * From now on requests of the process's own fetch, and of everyone who uses the global dispatcher,
   * go through this mesh when they go to configured services; all others go where they went. The
   * function that is returned puts back what was there, unless something else has been installed
   * meanwhile; so does `close`. A second call changes nothing and returns the same function.
   */
  installGlobal(): Installation {
    return (this.#installed ??= this.#install());
  }

  #install(): Installation {
    const removeBoth = install(this.#ownDispatcher);
    const remove = (): void => {
      this.#installed = undefined;
      removeBoth();
    };
    return Object.assign(remove, { [Symbol.dispose]: remove });
  }

  /** The API of this process: metrics, health and state, for programs on this machine. Off before its `listen`. */
  get admin(): MeshAdmin {
    return (this.#admin ??= new MeshAdmin(this));
  }

  override async close(graceMs = 30_000): Promise<void> {
    const endsAt = this.runtime.now() + graceMs;
    await super.close(graceMs);
    this.#installed?.();
    // Last, so that the process can be looked at while it leaves.
    await this.admin.close(Math.max(0, Math.min(ADMIN_GRACE_MS, endsAt - this.runtime.now())));
  }
}

makeDefaultMeshBy(createMesh);

/**
 * The mesh of clients that name none, of every protocol. Made when first used, from environment and
 * file. Throws an Error if another protocol's client has had it made before this package was imported:
 * import it first, or give both a mesh of your own.
 */
export function defaultMesh(): HttpMesh {
  const mesh = sharedMesh();
  if (mesh instanceof HttpMesh) return mesh;
  throw new Error("the default mesh was made before @inmesh/http was imported");
}
