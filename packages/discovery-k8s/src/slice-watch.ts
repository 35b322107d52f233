/**
 * List and watch of the EndpointSlices of a namespace, or of one Service in it, for as long as it is not stopped:
 *
 *   list (a stream where the server offers it, else in pages) ─▶ watch from its version ─▶ watch from the last one …
 *     ▲                                                              │ 410, garbage, or 10 minutes
 *     └──────────────────────────────────────────────────────────────┘
 *
 * A watch that ends is resumed. A failure is followed by a pause of at most 1.5 s, and then by the same request
 * again; what is known stays known. A list is taken as one difference, when it is complete.
 */
import { inTurns, nextTurn, type Runtime, type Timer } from "@inmesh/core/spi/discovery";
import type { ApiClient } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import { Lines } from "./lines.ts";
import { pRetry } from "./p-retry.ts";
import { isObject, metaOf, readSlice, SERVICE_LABEL, type Slice } from "./slice.ts";
import type { SliceStore } from "./slice-store.ts";
import { isOlder } from "./versions.ts";

/** Slices of a page. A page is read in one turn, so the next one is as large as it may be without being noticed. */
const FIRST_PAGE = 10;
const MAX_PAGE = 100;
const PAGE_BYTES = 262_144;
const MAX_PAGES = 10_000;
/**
 * So much is followed by a turn for others, because there is more: in one piece, or in many small ones, which a server
 * that writes each event by itself sends and which come in one turn all the same.
 */
const MUCH_BYTES = 16_384;
/** The server ends a watch after a time in this range, so that the watches of many processes end at many times. */
const MIN_WATCH_S = 240;
const MAX_WATCH_S = 300;
/** Bookmarks come each minute. Beyond the time that was asked for, nothing can be on its way any more. */
const SILENCE_MARGIN_MS = 30_000;
/** Time for a streaming list, until its last bookmark. */
const INITIAL_MS = 30_000;
const RELIST_MS = 600_000;
const RELIST_SPREAD = 0.1;
/** A watch that ended sooner than this, without news, is a failure: else an empty reply would be a storm. */
const SHORT_WATCH_MS = 1_000;
const MIN_PAUSE_MS = 100;
/** What is broken recovers within 2 s of the API server being back. */
const MAX_PAUSE_MS = 1_500;
/** A watch that was open for so long has proven that the API server works. */
const STEADY_MS = 5_000;
/** `refresh` lists anew at most this often: a refused connection may be the first sign of a missed deletion. */
const REFRESH_MS = 10_000;
/** An API server that is behind for so long was set back to an older state. */
const SET_BACK_MS = 60_000;
const INITIAL_END = "k8s.io/initial-events-end";

export interface WatchNews {
  changed(services: ReadonlySet<string>): void;
  /** A list is complete, or a watch is open again: what is known is what there is. */
  current(): void;
  failed(error: ApiError): void;
}

export class SliceWatch {
  readonly #api: ApiClient;
  readonly #runtime: Runtime;
  readonly #store: SliceStore;
  readonly #news: WatchNews;
  readonly #namespace: string;
  readonly #path: string;
  /** Undefined: everything has to be listed. */
  #version: string | undefined = undefined;
  /** The newest that was seen, also while everything is listed anew. */
  #lastVersion: string | undefined = undefined;
  #listedAt = -Infinity;
  /** Armed by each list. */
  #relist: Timer | undefined = undefined;
  /** Set while a list is older than what is known. */
  #behindSince: number | undefined = undefined;
  #streams = true;
  #failures = 0;
  #stopped = false;
  /** Ends what is running. */
  #interrupt: (() => void) | undefined = undefined;
  /** Ends a pause. */
  #wake: (() => void) | undefined = undefined;

  /** `service` empty: all of the namespace. */
  constructor(
    api: ApiClient,
    runtime: Runtime,
    store: SliceStore,
    namespace: string,
    service: string,
    news: WatchNews,
  ) {
    this.#api = api;
    this.#runtime = runtime;
    this.#store = store;
    this.#namespace = namespace;
    this.#news = news;
    const selector = service === "" ? SERVICE_LABEL : `${SERVICE_LABEL}=${service}`;
    this.#path = `/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/endpointslices?labelSelector=${encodeURIComponent(selector)}`;
    void this.#run();
  }

  refresh(): void {
    // A pause is short, and the API server has a reason for a long one.
    if (this.#wake === undefined && this.#runtime.now() - this.#listedAt >= REFRESH_MS)
      this.#listAgain();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#relist?.cancel();
    this.#interrupt?.();
    this.#wake?.();
  }

  #listAgain(): void {
    this.#version = undefined;
    this.#interrupt?.();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      // p-retry makes no pause of its own: ours is in the time of the runtime, and can be cut short.
      await pRetry(() => this.#once(), {
        retries: Infinity,
        minTimeout: 0,
        onFailedAttempt: ({ error }) => this.#pauseAfter(error),
        shouldRetry: () => !this.#stopped,
      }).catch(() => this.#pause(this.#stopped ? 0 : MAX_PAUSE_MS));
    }
  }

  /** One list or one watch. */
  async #once(): Promise<void> {
    if (this.#stopped) return;
    try {
      if (this.#version !== undefined) await this.#watch(this.#version);
      else if (this.#streams) await this.#streamedList();
      else await this.#pagedList();
    } catch (error) {
      throw error instanceof TypeError ? new ApiError(0, error.message) : error;
    }
  }

  async #pauseAfter(error: Error): Promise<void> {
    if (this.#stopped) return;
    const known = error instanceof ApiError ? error : new ApiError(0, error.message);
    if (known.isGone) this.#version = undefined;
    else this.#api.leave();
    // The first failure of a watch is no news yet: it is resumed at once, and its state is seconds old.
    const wasWatch = this.#version !== undefined || known.isGone;
    const isFirst = this.#failures++ === 0;
    if (isFirst && wasWatch && known.retryAfterMs === undefined) return;
    this.#news.failed(known);
    if (this.#stopped) return;
    const limitMs = Math.min(MIN_PAUSE_MS * 2 ** Math.min(this.#failures, 10), MAX_PAUSE_MS);
    const pauseMs = MIN_PAUSE_MS + (limitMs - MIN_PAUSE_MS) * this.#runtime.random();
    await this.#pause(Math.max(pauseMs, known.retryAfterMs ?? 0));
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel();
        this.#wake = undefined;
        resolve();
      };
      const timer = this.#runtime.after(ms, done, undefined);
      this.#wake = done;
    });
  }

  // ── lists ────────────────────────────────────────────────────────────────────────────────────

  async #pagedList(): Promise<void> {
    const slices = new Map<string, Slice>();
    let version: string | undefined;
    let next = "";
    let limit = FIRST_PAGE;
    for (let page = 0; page < MAX_PAGES; page++) {
      const more = next === "" ? "" : `&continue=${encodeURIComponent(next)}`;
      const path = `${this.#path}&limit=${limit}${more}`;
      const { object: list, bytes } = await this.#api.measured(path, this.#namespace);
      if (this.#stopped) return;
      limit = Math.max(1, Math.min(MAX_PAGE, 2 * limit, Math.floor((limit * PAGE_BYTES) / bytes)));
      const meta = isObject(list) ? list["metadata"] : undefined;
      const items = isObject(list) ? list["items"] : undefined;
      if (!isObject(meta) || typeof meta["resourceVersion"] !== "string") {
        throw new ApiError(0, "the API server has sent a list without a version");
      }
      // Pages are of one version; a token that has expired is answered with 410, and begins anew.
      if (version !== undefined && version !== meta["resourceVersion"]) {
        throw new ApiError(0, "the version has moved between the pages of a list");
      }
      version = meta["resourceVersion"];
      await inTurns(this.#runtime, adding(slices, Array.isArray(items) ? items : []), 1);
      next = typeof meta["continue"] === "string" ? meta["continue"] : "";
      if (next === "") return this.#listed(slices, version);
    }
    throw new ApiError(0, `a list has more than ${MAX_PAGES} pages`);
  }

  /** https://kubernetes.io/docs/reference/using-api/api-concepts/#streaming-lists */
  async #streamedList(): Promise<void> {
    const query = "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=";
    try {
      await this.#open(query, new Map());
    } catch (error) {
      // An older server refuses the parameter, or sends no end of the initial events.
      const status = error instanceof ApiError ? error.status : 0;
      const refused = status === 400 || status === 422;
      if (this.#version === undefined && (refused || error === NO_INITIAL_END)) {
        this.#streams = false;
        return;
      }
      throw error;
    }
  }

  #listed(slices: ReadonlyMap<string, Slice>, version: string): void {
    const now = this.#runtime.now();
    if (this.#lastVersion !== undefined && isOlder(version, this.#lastVersion)) {
      this.#behindSince ??= now;
      if (now - this.#behindSince < SET_BACK_MS) {
        throw new ApiError(
          0,
          `the API server is behind: its state is ${version}, known is ${this.#lastVersion}`,
        );
      }
      this.#store.forgetVersions();
    }
    this.#behindSince = undefined;
    this.#listedAt = now;
    const relistMs = RELIST_MS * (1 + RELIST_SPREAD * (2 * this.#runtime.random() - 1));
    this.#relist?.cancel();
    this.#relist = this.#runtime.after(relistMs, () => this.#listAgain(), undefined);
    this.#version = this.#lastVersion = version;
    this.#news.changed(this.#store.replace(slices, version));
    this.#news.current();
  }
  // ── watches ──────────────────────────────────────────────────────────────────────────────────

  async #watch(version: string): Promise<void> {
    const startedAt = this.#runtime.now();
    const heard = await this.#open(`&resourceVersion=${encodeURIComponent(version)}`, undefined);
    const tookMs = this.#runtime.now() - startedAt;
    if (heard || this.#version === undefined || this.#stopped) return;
    if (tookMs < SHORT_WATCH_MS) {
      throw new ApiError(0, "the API server ends watches as soon as they begin");
    }
  }

  /** `initial`: what a streaming list gathers until it is complete. Gives whether anything has come. */
  async #open(query: string, initial: Map<string, Slice> | undefined): Promise<boolean> {
    let heard = false;
    let openedAt = Infinity;
    let gathered = initial;
    let first: Timer | undefined;
    const seconds = Math.floor(
      MIN_WATCH_S + (MAX_WATCH_S - MIN_WATCH_S + 1) * this.#runtime.random(),
    );
    const lines = new Lines();
    let sinceTurn = 0;
    let reading: Promise<void> | undefined;
    const events = function* (this: SliceWatch, chunk: Buffer): Generator<undefined, void> {
      try {
        for (const line of lines.push(chunk)) {
          heard = true;
          if (this.#event(line, gathered)) {
            gathered = undefined;
            first?.cancel();
          }
          yield;
        }
      } catch (error) {
        throw error instanceof ApiError ? error : unreadable((error as Error).message);
      }
    }.bind(this);
    let giveUp: (error: Error) => void = () => {};
    const ended = new Promise<never>((_, reject) => (giveUp = reject));
    this.#interrupt = () => giveUp(INTERRUPTED);
    if (initial !== undefined) {
      first = this.#runtime.after(INITIAL_MS, () => giveUp(NO_INITIAL_END), undefined);
    }
    const path = `${this.#path}&watch=true&allowWatchBookmarks=true&timeoutSeconds=${seconds}${query}`;
    const silenceMs = seconds * 1_000 + SILENCE_MARGIN_MS;
    try {
      await Promise.race([
        ended,
        this.#api.stream(path, this.#namespace, {
          silenceMs,
          onOpen: () => {
            openedAt = this.#runtime.now();
            if (initial === undefined && this.#failures > 0) this.#news.current();
          },
          onData: (chunk) => {
            const read = (): void | Promise<void> => {
              const done = inTurns(this.#runtime, events(chunk), 1);
              sinceTurn += chunk.length;
              if (done === undefined && sinceTurn < MUCH_BYTES) return undefined;
              sinceTurn = 0;
              return done ?? nextTurn(this.#runtime);
            };
            // What a connection held as it ended comes at once, whatever is still being read.
            const next = reading === undefined ? read() : reading.then(read);
            if (next === undefined) return undefined;
            const mine = next.finally(() => {
              if (reading === mine) reading = undefined;
            });
            reading = mine;
            return mine;
          },
        }),
      ]);
      await reading;
      if (gathered !== undefined) throw NO_INITIAL_END;
    } catch (error) {
      // The stream may be open still: its connection goes.
      if (!this.#stopped && (error === INTERRUPTED || error === NO_INITIAL_END)) this.#api.leave();
      if (error !== INTERRUPTED) throw error;
    } finally {
      if (this.#runtime.now() - openedAt >= STEADY_MS) this.#failures = 0;
      first?.cancel();
      this.#interrupt = undefined;
    }
    return heard;
  }

  /** Gives true when a streaming list is complete. Throws for what cannot be read. */
  #event(line: string, initial: Map<string, Slice> | undefined): boolean {
    if (this.#stopped) return false;
    let event: unknown;
    try {
      event = JSON.parse(line);
    } catch {
      throw unreadable("the API server has sent a line that is no JSON");
    }
    const type = isObject(event) ? event["type"] : undefined;
    const object = isObject(event) ? event["object"] : undefined;
    if (type === "ERROR") throw errorOfEvent(object);
    if (type === "BOOKMARK") return this.#bookmark(object, initial);
    const meta = metaOf(object);
    if (meta === undefined || (type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED")) {
      throw unreadable("the API server has sent an event that is none");
    }
    if (initial !== undefined) {
      if (type === "DELETED") initial.delete(meta.name);
      else add(initial, object);
      return false;
    }
    this.#advance(meta.version);
    if (type === "DELETED") this.#news.changed(this.#store.delete(meta.name, meta.version));
    else {
      const slice = readSlice(object);
      // What is no slice changes nothing: the last good one stays.
      if (slice !== undefined) this.#news.changed(this.#store.upsert(slice));
    }
    return false;
  }

  #bookmark(object: unknown, initial: Map<string, Slice> | undefined): boolean {
    const meta = isObject(object) ? object["metadata"] : undefined;
    const version = isObject(meta) ? meta["resourceVersion"] : undefined;
    if (typeof version !== "string" || version === "" || !isObject(meta)) {
      throw unreadable("the API server has sent a bookmark without a version");
    }
    const annotations = meta["annotations"];
    if (initial === undefined) this.#advance(version);
    else if (isObject(annotations) && annotations[INITIAL_END] === "true") {
      this.#listed(initial, version);
      return true;
    }
    return false;
  }

  /** Events of one watch are in order, so a version that goes back is no place to go on from. */
  #advance(version: string): void {
    if (this.#lastVersion !== undefined && isOlder(version, this.#lastVersion)) return;
    this.#version = this.#lastVersion = version;
  }
}

const NO_INITIAL_END: ApiError = new ApiError(0, "a streaming list has not come to its end");
const INTERRUPTED: Error = new Error("interrupted");

function* adding(slices: Map<string, Slice>, items: readonly unknown[]): Generator<undefined> {
  for (const item of items) {
    add(slices, item);
    yield;
  }
}

function add(slices: Map<string, Slice>, object: unknown): void {
  const slice = readSlice(object);
  if (slice !== undefined) slices.set(slice.name, slice);
}

/** Whatever cannot be read ends the watch, and everything is listed again. */
const unreadable = (message: string): ApiError => new ApiError(0, message, { gone: true });

function errorOfEvent(object: unknown): ApiError {
  const { code, message } = isObject(object) ? object : { code: 0, message: "" };
  const status = typeof code === "number" ? code : 0;
  const text = typeof message === "string" ? message.slice(0, 200) : "";
  return new ApiError(status, `the API server has ended the watch: ${status} ${text}`);
}
