/** Row R8: a body that a call never begins to read, and a body whose type is no header value. */
import { Readable } from "node:stream";
import { setTimeout as after } from "node:timers/promises";
import type { ServiceInput } from "@inmesh/core";
import { meshClient, type HttpMesh } from "@inmesh/http";
import { FormData as UndiciForm } from "undici";
import { describe, expect, it } from "vitest";
import { doorsOf, Recorded } from "./support/doors.ts";
import { answering, OK, rejectionOf } from "./wire.ts";

type Call = (mesh: HttpMesh, body: unknown, signal?: AbortSignal) => Promise<unknown>;

const withInit =
  (call: (mesh: HttpMesh, init: RequestInit) => Promise<unknown>): Call =>
  (mesh, body, signal) =>
    call(mesh, { method: "POST", body, signal, duplex: "half" } as RequestInit);

const client: Call = (mesh, body, signal) =>
  meshClient("orders", { mesh }).fetch("/", {
    method: "POST",
    body: body as string,
    ...(signal === undefined ? {} : { signal }),
  });

const doors: readonly (readonly [string, Call])[] = [
  ["meshClient", client],
  ["mesh.fetch", withInit((mesh, init) => mesh.fetch("http://orders/", init))],
];

const versions: readonly (readonly [string, ServiceInput])[] = [
  ["HTTP/1.1", {}],
  ["HTTP/2", { http2: true }],
];

/** Never gives a byte, and keeps what it was cancelled with. */
function waiting(): { body: ReadableStream; readonly cancelledWith: unknown[] } {
  const cancelledWith: unknown[] = [];
  const body = new ReadableStream({ cancel: (reason) => void cancelledWith.push(reason) });
  return { body, cancelledWith };
}

/** Nothing listens there. */
const REFUSING = "127.0.0.1:1";

describe.each(versions)("a web stream over %s", (_version, input) => {
  it.each(doors)("R8 LC: %s cancels it with the error if no endpoint is there", async (_, call) => {
    const mesh = doorsOf([REFUSING], input);
    const { body, cancelledWith } = waiting();
    const error = await rejectionOf(call(mesh, body));
    expect(cancelledWith).toEqual([error]);
  });

  it.each(doors)("R8 LC: %s cancels it with the reason of an abort", async (_, call) => {
    const mesh = doorsOf([REFUSING], input);
    const { body, cancelledWith } = waiting();
    const error = await rejectionOf(call(mesh, body, AbortSignal.abort("no longer")));
    expect(error).toBe("no longer");
    expect(cancelledWith).toEqual(["no longer"]);
  });

  it.each(doors)(
    "R8 LC: %s leaves no rejection behind if it cannot be cancelled",
    async (_, call) => {
      const mesh = doorsOf([REFUSING], input);
      const cancel = (): Promise<void> => Promise.reject(new Error("cannot"));
      await rejectionOf(call(mesh, new ReadableStream({ cancel })));
      await after(10); // an unhandled rejection would fail the test
    },
  );
});

it.each(doors)("R8 LC: %s leaves a stream of Node to its owner", async (_, call) => {
  const mesh = doorsOf([REFUSING]);
  const body = new Readable({ read() {} });
  await rejectionOf(call(mesh, body, AbortSignal.abort()));
  expect(body.destroyed).toBe(false);
  body.destroy();
});

/** As a class of its own can have any type, which the constructors of Blob do not let through. */
function injecting<T extends Blob>(blob: T): T {
  return Object.defineProperty(blob, "type", { value: "text/html\r\nx-injected: 1" });
}

function formOf(Form: new () => unknown): unknown {
  const form = new Form() as FormData;
  form.append("file", injecting(new File(["hello"], "a.html")));
  return form;
}

const dispatched: Call = async (mesh, body) => {
  const error = await new Recorded(mesh.dispatcher, { method: "POST", body: body as string }).over;
  if (error !== undefined) throw error as Error;
};

describe.each(versions)("a type with a line break over %s", (_version, input) => {
  it.each([...doors, ["mesh.dispatcher", dispatched] as const])(
    "R8 LC: %s refuses the body and sends nothing",
    async (_, call) => {
      const peer = await answering(OK);
      const mesh = doorsOf([peer.address], input);
      for (const body of [injecting(new Blob(["hello"])), formOf(FormData), formOf(UndiciForm)]) {
        const error = await rejectionOf(call(mesh, body));
        expect(String((error as Error).cause ?? error)).toContain("no header value");
      }
      expect(peer.requests).toHaveLength(0);
    },
  );
});
