/** A mesh with doors, and a dispatcher's handler that writes down what it receives. */
import type { MeshOptions, ServiceInput } from "@inmesh/core";
import { createMesh, type HttpMesh } from "@inmesh/http";
import type { Dispatcher } from "undici";
import { onTestFinished } from "vitest";

/** A mesh whose service `orders` has these endpoints. */
export function doorsOf(
  addresses: readonly string[],
  input: ServiceInput = {},
  options: MeshOptions = {},
): HttpMesh {
  const orders: ServiceInput = { discovery: { static: addresses }, ...input };
  return httpMeshOf({ orders }, options);
}

export function httpMeshOf(
  services: Record<string, ServiceInput>,
  options: MeshOptions = {},
): HttpMesh {
  const mesh = createMesh({ env: {}, config: { services }, ...options });
  onTestFinished(async () => {
    await mesh.close(0);
    await mesh.dispatcher.destroy();
  });
  return mesh;
}

/** Until the test ends: an import of undici sets one. */
export function withoutGlobalDispatcher(): void {
  const symbols = globalThis as unknown as Record<symbol, unknown>;
  for (const version of [1, 2]) {
    const key = Symbol.for(`undici.globalDispatcher.${version}`);
    const before = symbols[key];
    if (before === undefined) continue;
    symbols[key] = undefined;
    onTestFinished(() => void (symbols[key] = before));
  }
}

type Handler = Dispatcher.DispatchHandler;
type Options = Partial<Dispatcher.DispatchOptions>;

/** One dispatch: its events by name in order, and what it came to. */
export class Recorded {
  readonly events: string[] = [];
  readonly chunks: Buffer[] = [];
  controller: Dispatcher.DispatchController | undefined = undefined;
  status = 0;
  headers: Record<string, string | string[] | undefined> = {};
  trailers: Record<string, string | string[] | undefined> = {};
  error: unknown = undefined;
  returned = false;
  /** Resolves with the error, or undefined at the end of the body. */
  readonly over: Promise<unknown>;

  constructor(dispatcher: Dispatcher, options: Options, own: Handler = {}) {
    this.over = new Promise((resolve) => {
      const handler: Handler = {
        onRequestStart: (controller, context) => {
          this.events.push("start");
          this.controller = controller;
          own.onRequestStart?.(controller, context);
        },
        onBodySent: (chunk) => {
          this.events.push(`sent ${chunk.length}`);
          own.onBodySent?.(chunk);
        },
        onRequestSent: () => {
          this.events.push("request sent");
          own.onRequestSent?.();
        },
        onResponseStarted: () => {
          this.events.push("reply started");
          own.onResponseStarted?.();
        },
        onResponseStart: (controller, status, headers, statusText) => {
          this.events.push(`head ${status}`);
          this.status = status;
          this.headers = headers;
          own.onResponseStart?.(controller, status, headers, statusText);
        },
        onResponseData: (controller, chunk) => {
          this.events.push("data");
          this.chunks.push(chunk);
          own.onResponseData?.(controller, chunk);
        },
        onResponseEnd: (controller, trailers) => {
          this.events.push("end");
          this.trailers = trailers;
          own.onResponseEnd?.(controller, trailers);
          resolve(undefined);
        },
        onResponseError: (controller, error) => {
          this.events.push("error");
          this.error = error;
          resolve(error);
          own.onResponseError?.(controller, error);
        },
      };
      if (own.onRequestUpgrade !== undefined) handler.onRequestUpgrade = own.onRequestUpgrade;
      this.returned = dispatcher.dispatch(
        { origin: "http://orders", path: "/", method: "GET", ...options },
        handler,
      );
    });
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  get bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }
}
