/**
 * Requests to the API server over undici: replies with a limit of time and size, and streams that end when nothing
 * has come for too long. All time is that of the `Runtime`; undici's own timeouts are off.
 */
import type { Runtime, Timer } from "@inmesh/core/spi/discovery";
import type { Client, Dispatcher } from "undici";
import type { Access } from "./credentials.ts";
import { ApiError, errorOfReply } from "./api-error.ts";
import { tunnelTo } from "./proxy.ts";
import { loadUndici } from "./lazy.cjs";

/** For a whole reply, and for the head of a stream. */
const REPLY_MS = 30_000;
const CONNECT_MS = 5_000;
const MAX_REPLY_BYTES = 64 * 1_048_576;
const MAX_ERROR_BYTES = 16_384;

export interface Stream {
  /** Fails if nothing has come for so long. */
  readonly silenceMs: number;
  /** The head is here. */
  onOpen(): void;
  /** What it throws ends the stream. A promise: nothing more is read until it resolves. */
  onData(chunk: Buffer): void | Promise<void>;
}

export class ApiClient {
  readonly #access: Access;
  readonly #runtime: Runtime;
  #client: Client | undefined = undefined;
  /** Which of the servers is asked. */
  #server = 0;
  /** The last reply was 401. */
  #refused = false;
  #closed = false;

  constructor(access: Access, runtime: Runtime) {
    this.#access = access;
    this.#runtime = runtime;
  }

  async get(path: string, namespace: string): Promise<unknown> {
    return (await this.measured(path, namespace)).object;
  }

  /** The object, and how many bytes it took. */
  async measured(
    path: string,
    namespace: string,
  ): Promise<{ readonly object: unknown; readonly bytes: number }> {
    const parts: Buffer[] = [];
    let bytes = 0;
    await this.#send(path, namespace, {
      silenceMs: REPLY_MS,
      onOpen() {},
      onData(chunk) {
        bytes += chunk.length;
        if (bytes > MAX_REPLY_BYTES) throw new ApiError(0, "a list is longer than 64 MiB");
        parts.push(chunk);
      },
    });
    try {
      const object: unknown = JSON.parse(Buffer.concat(parts).toString("utf8"));
      return { object, bytes };
    } catch (error) {
      throw new ApiError(0, `the API server's list is no JSON: ${(error as Error).name}`);
    }
  }

  /** Resolves when the server has ended the stream. */
  stream(path: string, namespace: string, stream: Stream): Promise<void> {
    return this.#send(path, namespace, stream);
  }

  /** The next request makes a connection, to the next server if there are several. */
  leave(): void {
    this.#server = (this.#server + 1) % this.#access.servers.length;
    this.#drop();
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #drop(): void {
    const client = this.#client;
    this.#client = undefined;
    client?.destroy(() => {});
  }

  async #send(path: string, namespace: string, stream: Stream): Promise<void> {
    const { token, cert, key } = await this.#access.credentials(this.#refused);
    this.#client ??= this.#connectTo(await this.#access.ca(), cert, key);
    if (this.#closed) {
      this.#drop();
      throw new ApiError(0, "it was stopped");
    }
    const headers: Record<string, string> = { accept: "application/json" };
    if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
    const server = this.#access.servers[this.#server]!;
    // Some proxies in front of API servers have a path of their own before that of the API.
    const prefix = new URL(server).pathname.replace(/\/+$/, "");
    try {
      await exchange(this.#client, prefix + path, headers, stream, this.#runtime, namespace);
      this.#refused = false;
    } catch (error) {
      this.#refused = error instanceof ApiError && error.status === 401;
      // A client certificate may have been replaced as well.
      if (this.#refused) this.#drop();
      if (error instanceof ApiError) throw error;
      const { code, message } = error as NodeJS.ErrnoException;
      throw new ApiError(0, `${server}: ${code ?? message}`);
    }
  }

  #connectTo(ca: string | undefined, cert: string | undefined, key: string | undefined): Client {
    const { Client: UndiciClient, buildConnector } = loadUndici();
    const { servers, serverName, insecure } = this.#access;
    const server = servers[this.#server]!;
    const proxy = this.#access.proxy(server);
    const connect = buildConnector({
      timeout: CONNECT_MS,
      allowH2: false,
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert }),
      ...(key !== undefined && { key }),
      ...(serverName !== undefined && { servername: serverName }),
      rejectUnauthorized: insecure !== true,
    }) as (...args: Parameters<ReturnType<typeof buildConnector>>) => Quiet;
    const client = new UndiciClient(new URL(server).origin, {
      allowH2: false,
      pipelining: 1,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (options, callback) => {
        if (proxy === undefined) return quiet(connect(options, callback));
        tunnelTo(proxy, server, CONNECT_MS, (error, httpSocket) => {
          if (error !== null) return callback(error, null);
          quiet(httpSocket);
          if (options.protocol !== "https:") return callback(null, httpSocket);
          quiet(connect({ ...options, httpSocket }, callback));
        });
      },
    });
    return client;
  }
}

/**
 * A watch always waits for something, and must not keep the process alive for it. undici calls `ref` for each request.
 */
function quiet(socket: Quiet): void {
  socket.ref = () => socket;
  socket.unref();
}

interface Quiet {
  ref(): unknown;
  unref(): unknown;
}

function exchange(
  client: Client,
  path: string,
  headers: Record<string, string>,
  stream: Stream,
  runtime: Runtime,
  namespace: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | undefined;
    let status = 0;
    let retryAfter: string | undefined;
    let refusal = "";
    let timer: Timer | undefined;
    let heardAt = runtime.now();
    let limitMs = REPLY_MS;
    let ended = false;
    const end = (error?: Error): void => {
      if (ended) return;
      ended = true;
      timer?.cancel();
      if (error === undefined) resolve();
      else reject(error);
    };
    const fail = (error: Error): void => {
      end(error);
      if (controller !== undefined) controller.abort(error);
      else client.destroy(error, () => {});
    };
    // Armed once for each limit, and not for each chunk.
    const look = (): void => {
      const leftMs = heardAt + limitMs - runtime.now();
      if (leftMs > 0) timer = runtime.after(leftMs, look, undefined);
      else {
        fail(
          new ApiError(
            0,
            `nothing has come from the API server for ${Math.round(limitMs / 1000)} s`,
          ),
        );
      }
    };
    timer = runtime.after(limitMs, look, undefined);
    client.dispatch(
      { path, method: "GET", headers },
      {
        onRequestStart(given) {
          controller = given;
          if (ended) given.abort(new Error("it has taken too long"));
        },
        onResponseStart(_, statusCode, fields) {
          if (statusCode < 200) return;
          status = statusCode;
          const after = fields["retry-after"];
          retryAfter = typeof after === "string" ? after : undefined;
          heardAt = runtime.now();
          if (status !== 200) return;
          limitMs = stream.silenceMs;
          timer?.cancel();
          timer = runtime.after(limitMs, look, undefined);
          stream.onOpen();
        },
        onResponseData(_, chunk) {
          if (ended) return;
          heardAt = runtime.now();
          if (status !== 200) {
            if (refusal.length < MAX_ERROR_BYTES) refusal += chunk.toString("latin1");
            return;
          }
          try {
            const later = stream.onData(chunk);
            if (later === undefined) return;
            controller!.pause();
            later.then(() => controller!.resume(), fail);
          } catch (error) {
            fail(error as Error);
          }
        },
        onResponseEnd() {
          end(status === 200 ? undefined : errorOfReply(status, refusal, retryAfter, namespace));
        },
        onResponseError(_, error) {
          end(error);
        },
      },
    );
  });
}
