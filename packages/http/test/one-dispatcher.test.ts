/**
 * `mesh.dispatcher` is one object for every undici there is, and what `mesh.fetch` gives is of the process's
 * own classes. The built-in fetch stands for the undici of its Node: 6 in Node 22, 7 in 24, 8 in 26. That this
 * file compiles without casts is part of what it shows.
 */
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { interceptors } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { doorsOf } from "./support/doors.ts";
import { rejectionOf } from "./wire.ts";

type Version = "HTTP/1.1" | "HTTP/2";

async function serveBoth(version: Version, listener: RequestListener): Promise<string> {
  const server = version === "HTTP/2" ? createHttp2(listener as never) : createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A handler as undici 6 and 7 write it. */
interface OldHandler {
  onConnect(abort: (reason?: Error) => void): void;
  onHeaders(status: number, raw: Buffer[], resume: () => void, text: string): boolean;
  onData(chunk: Buffer): boolean;
  onComplete(trailers: Buffer[]): void;
  onError(error: Error): void;
}

describe.each<Version>(["HTTP/1.1", "HTTP/2"])("R39 LC: over %s", (version) => {
  it("a handler of undici 6 and 7 gets head, body and pauses as it is used to", async () => {
    const address = await serveBoth(version, (_request, response) => {
      response.setHeader("x-own", "kept");
      response.write("a");
      setTimeout(() => response.end("b"), 20);
    });
    const { dispatcher } = doorsOf([address], { http2: version === "HTTP/2" });
    const seen: unknown[] = [];
    const text = await new Promise<string>((resolve, reject) => {
      let body = "";
      let paused = false;
      let resume = (): void => {};
      const handler: OldHandler = {
        onConnect: () => void seen.push("connect"),
        onHeaders(status, raw, wake) {
          resume = wake;
          const names = raw.filter((_, i) => i % 2 === 0).map(String);
          seen.push(status, names.includes("x-own"));
          return true;
        },
        onData(chunk) {
          if (paused) reject(new Error("it was paused"));
          body += String(chunk);
          paused = true;
          setTimeout(() => {
            paused = false;
            resume();
          }, 5);
          return false;
        },
        onComplete: () => resolve(body),
        onError: reject,
      };
      dispatcher.dispatch({ origin: "http://orders", path: "/", method: "GET" }, handler);
    });
    expect(text).toBe("ab");
    expect(seen).toEqual(["connect", 200, true]);
  });

  it("the built-in fetch goes through interceptors of undici 8", async () => {
    const address = await serveBoth(version, (request, response) => {
      if (request.url === "/") response.writeHead(302, { location: "/there" }).end();
      else response.end(request.url);
    });
    const mesh = doorsOf([address], { http2: version === "HTTP/2" });
    const dispatcher = mesh.dispatcher.compose(interceptors.redirect({ maxRedirections: 1 }));
    const reply = await fetch("http://orders/", { dispatcher: dispatcher as never });
    expect([reply.status, await reply.text()]).toEqual([200, "/there"]);
  });

  it("the built-in fetch takes mesh.dispatcher as it is", async () => {
    const address = await serveBoth(version, (request, response) => {
      response.setHeader("x-type", request.headers["content-type"] ?? "none");
      request.pipe(response);
    });
    const { dispatcher } = doorsOf([address], { http2: version === "HTTP/2" });
    const form = new FormData();
    form.set("field", "value");
    const reply = await fetch("http://orders/", { method: "POST", body: form, dispatcher });
    expect(reply.headers.get("x-type")).toMatch(/^multipart\/form-data/);
    expect(await reply.text()).toMatch(/name="field"\r\n\r\nvalue\r\n/);
  });

  it("mesh.fetch is a fetch, and its replies are of the process's own classes", async () => {
    const address = await serveBoth(version, (request, response) => {
      if (request.url === "/empty") response.statusCode = 204;
      response.setHeader("content-type", "application/x-www-form-urlencoded");
      response.end(request.url === "/empty" ? undefined : "a=1");
    });
    const mesh = doorsOf([address], { http2: version === "HTTP/2" });
    const { fetch }: { fetch: typeof globalThis.fetch } = mesh;
    const reply: Response = await fetch(new Request("http://orders/form"));
    expect(reply).toBeInstanceOf(Response);
    expect(reply.headers).toBeInstanceOf(Headers);
    expect(reply.clone()).toBeInstanceOf(Response);
    expect(reply.url).toBe("http://orders/form");
    expect(reply.clone().url).toBe("http://orders/form");
    const form = await reply.formData();
    expect(form).toBeInstanceOf(FormData);
    expect(form.get("a")).toBe("1");
    const empty = await fetch("http://orders/empty");
    expect(empty).toBeInstanceOf(Response);
    expect([empty.status, empty.ok, await empty.text()]).toEqual([204, true, ""]);
  });
});

it("R39 LC: a handler of undici 6 and 7 gets the error, and may abort; their option stays in", async () => {
  const { dispatcher } = doorsOf(["127.0.0.1:1"]);
  const ends = (abortIt: boolean): Promise<Error> =>
    new Promise((resolve) => {
      const handler = {
        onConnect: (abort: () => void) => void (abortIt && abort()),
        onHeaders: () => true,
        onData: () => true,
        onComplete() {},
        onError: resolve,
      };
      const options = { origin: "http://orders", path: "/", method: "GET", dispatcher };
      dispatcher.dispatch(options, handler);
    });
  expect(await ends(false)).toMatchObject({ code: "connect_failed" });
  expect((await ends(true)).name).toMatch(/Abort/);
});

it("R26 LC: a form of another kind is refused by a sentence at every door", async () => {
  const mesh = doorsOf(["127.0.0.1:1"]);
  const form = { append() {}, [Symbol.toStringTag]: "FormData", getBoundary: () => "x" };
  const init = { method: "POST", body: form } as never;
  const refused = /another kind/;
  await expect(rejectionOf(mesh.fetch("http://orders/", init))).resolves.toMatchObject({
    message: expect.stringMatching(refused) as string,
  });
  const asked = { origin: "http://orders", path: "/", method: "POST", body: form } as never;
  await expect(rejectionOf(mesh.dispatcher.request(asked))).resolves.toMatchObject({
    message: expect.stringMatching(refused) as string,
  });
});
