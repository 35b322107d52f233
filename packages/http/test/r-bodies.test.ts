/** Rows R3 and R8: a request body that fails, or ends early, is the fault of its supplier alone. */
import { once } from "node:events";
import { openAsBlob, truncateSync, writeFileSync } from "node:fs";
import { createServer as createHttp1, request as nodeRequest } from "node:http";
import { createServer as createHttp2, type Http2ServerRequest } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable } from "node:stream";
import { setTimeout as after } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { ServiceInput } from "@inmesh/core";
import { MeshError } from "@inmesh/core/spi";
import { meshClient, type HttpMesh } from "@inmesh/http";
import { FormData as UndiciForm } from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { Recorded, doorsOf } from "./support/doors.ts";
import { folder } from "./support/folders.ts";
import { rejectionOf } from "./wire.ts";

type Version = "HTTP/1.1" | "HTTP/2";
type Post = (mesh: HttpMesh, body: unknown, headers?: Record<string, string>) => Promise<string>;

const doors: readonly (readonly [string, Post])[] = [
  [
    "meshClient",
    async (mesh, body, headers = {}) => {
      const init = { method: "POST", body: body as string, headers };
      return (await meshClient("orders", { mesh }).fetch("/", init)).text();
    },
  ],
  [
    "mesh.dispatcher",
    async (mesh, body, headers = {}) => {
      const recorded = new Recorded(mesh.dispatcher, {
        method: "POST",
        body: body as string,
        headers,
      });
      const error = await recorded.over;
      if (error !== undefined) throw error as Error;
      return recorded.text;
    },
  ],
  [
    "mesh.fetch",
    async (mesh, body, headers = {}) => {
      const init = { method: "POST", body, headers, duplex: "half" } as never;
      return (await mesh.fetch("http://orders/", init)).text();
    },
  ],
];

interface Peer {
  readonly address: string;
  /** Bodies that the server took for whole. */
  readonly whole: string[];
  readonly input: ServiceInput;
}

/** Answers with the number of bytes it was sent. */
async function peerOf(version: Version): Promise<Peer> {
  const whole: string[] = [];
  const take = (request: Http2ServerRequest | Readable, answer: (text: string) => void): void => {
    let bytes = 0;
    let text = "";
    request.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes < 100_000) text += chunk.toString("latin1");
    });
    request.on("error", () => {});
    request.on("end", () => {
      const { complete, stream } = request as Http2ServerRequest;
      if (!complete || (stream !== undefined && stream.rstCode !== 0)) return;
      whole.push(text);
      answer(String(bytes));
    });
  };
  const server =
    version === "HTTP/2"
      ? createHttp2((request, response) => take(request, (text) => response.end(text)))
      : createHttp1((request, response) => take(request, (text) => response.end(text)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { address, whole, input: { http2: version === "HTTP/2" } };
}

/** A blob of a file that has another size by now. */
async function changed(): Promise<Blob> {
  const path = join(folder(), "part.bin");
  writeFileSync(path, Buffer.alloc(300_000, 1));
  const blob = await openAsBlob(path);
  await after(20);
  writeFileSync(path, "short");
  return blob;
}

function formOf(Form: typeof FormData, part: Blob): FormData {
  const form = new Form();
  form.append("kind", "picture");
  form.append("file", part, "a.bin");
  return form;
}

/** A dispatcher gives the error that the body ended with, as undici's do; ours where there was none. */
function expectOwnFault(error: unknown, message: RegExp): void {
  if (error instanceof MeshError) {
    expect(error).toMatchObject({ code: "bad_request", reason: "bad_body" });
    expect(error.message).toMatch(/ended early|failed: (undefined|null|0|false|$)/);
  } else expect((error as Error).message).toMatch(message);
}

/** The first error of ours on the way from what the call rejected with; what was thrown, if there is none. */
function ours(error: unknown): MeshError {
  let at = error;
  while (at instanceof Error && !(at instanceof MeshError)) at = at.cause;
  if (at instanceof MeshError) return at;
  throw new Error("no MeshError among its causes", { cause: error });
}

/** After a collection. */
function liveBytes(): number {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  return process.memoryUsage().arrayBuffers;
}

async function* some(): AsyncGenerator<Buffer> {
  yield Buffer.alloc(1_000, 65);
  await after(5);
}

async function* endless(): AsyncGenerator<Buffer> {
  for (;;) yield* some();
}

const faults: readonly (readonly [string, () => unknown])[] = [
  [
    "a stream that is destroyed without an error",
    () => {
      const stream = Readable.from(endless());
      setTimeout(() => stream.destroy(), 20);
      return stream;
    },
  ],
  [
    "a stream of bytes that is destroyed without an error",
    () => {
      const stream = new Readable({ read() {} });
      stream.push("some");
      setTimeout(() => stream.destroy(), 20);
      return stream;
    },
  ],
  ...[undefined, null, 0, "", false].map(
    (thrown) =>
      [
        `a generator that throws ${JSON.stringify(thrown)}`,
        async function* () {
          yield* some();
          throw thrown;
        },
      ] as const,
  ),
  [
    "a web stream that fails with null",
    () => {
      let pulled = 0;
      return new ReadableStream({
        pull(controller) {
          if (pulled++ === 0) controller.enqueue(Buffer.from("some"));
          else controller.error(null);
        },
      });
    },
  ],
  [
    "a stream that fails as a connection does",
    () => {
      const stream = new Readable({ read() {} });
      stream.push("some");
      const reset = Object.assign(new Error("aborted"), { code: "ECONNRESET" });
      setTimeout(() => stream.destroy(reset), 20);
      return stream;
    },
  ],
  [
    "a stream of another class that fails as a connection does",
    () => {
      const source = new Readable({ read() {} });
      source.push("some");
      const reset = Object.assign(new Error("aborted"), { code: "ECONNRESET" });
      source.on("error", () => {}); // on a busy machine it is not read yet
      setTimeout(() => source.destroy(reset), 20);
      // What copies of Node's streams in packages have, and `instanceof` does not find.
      return {
        pipe: () => {},
        on: () => {},
        [Symbol.asyncIterator]: () => source[Symbol.asyncIterator](),
      };
    },
  ],
  [
    "a generator that fails as undici does",
    async function* () {
      yield* some();
      throw Object.assign(new Error("other side closed"), { code: "UND_ERR_SOCKET" });
    },
  ],
  [
    "a generator of numbers",
    async function* () {
      yield* some();
      yield 7;
    },
  ],
  ["a stream of numbers", () => Readable.from([1, 2, 3])],
];

describe.each(doors)("R8 LC: %s", (door, post) => {
  describe.each<Version>(["HTTP/1.1", "HTTP/2"])("over %s", (version) => {
    it.each(faults)("%s is a bad body, and no fault of the endpoint", async (_what, make) => {
      const { address, whole, input } = await peerOf(version);
      const breaker = { consecutiveFailures: 2 };
      const mesh = doorsOf([address], { ...input, breaker, timeouts: { request: "5s" } });
      for (let i = 0; i < 3; i++) {
        const error = await rejectionOf(post(mesh, make()));
        if (door === "mesh.dispatcher") expectOwnFault(error, /aborted|other side closed|number/);
        else expect(ours(error)).toMatchObject({ code: "bad_request", reason: "bad_body" });
      }
      expect(whole).toEqual([]);
      const [endpoint] = mesh.snapshot().services[0]!.endpoints;
      expect(endpoint).toMatchObject({ breaker: { state: "closed" } });
      expect(await post(mesh, "fine")).toBe("4");
    });

    it.each([10, 3])("a length of %d for a body of 5 is a bad body", async (length) => {
      const { address, whole, input } = await peerOf(version);
      const mesh = doorsOf([address], { ...input, breaker: { consecutiveFailures: 1 } });
      const error = await rejectionOf(
        post(mesh, Readable.from([Buffer.from("12345")]), { "content-length": String(length) }),
      );
      if (door === "meshClient") {
        expect(ours(error)).toMatchObject({ code: "bad_request", reason: "bad_body" });
      }
      expect(whole).toEqual([]);
      expect(await post(mesh, "fine")).toBe("4");
    });
  });
});

describe.each<Version>(["HTTP/1.1", "HTTP/2"])("R8 LC: meshClient over %s", (version) => {
  it.each([undefined, new Error("no such file")])(
    "a stream that had ended with %s before it was sent is a bad body",
    async (failure) => {
      const [, post] = doors.find(([door]) => door === "meshClient")!;
      const { address, whole, input } = await peerOf(version);
      const mesh = doorsOf([address], { ...input, breaker: { consecutiveFailures: 1 } });
      const stream = new Readable({ read() {} });
      stream.on("error", () => {});
      stream.destroy(failure);
      const error = await rejectionOf(post(mesh, stream));
      expect(ours(error)).toMatchObject({ code: "bad_request", reason: "bad_body" });
      expect(whole).toEqual([]);
      expect(await post(mesh, "fine")).toBe("4");
    },
  );
});

describe.each(doors)("R3 LC: %s", (door, post) => {
  const expectUnreadable = (error: unknown): void => {
    if (door === "mesh.dispatcher") return expectOwnFault(error, /^The blob could not be read$/);
    const fault = ours(error);
    expect(fault).toMatchObject({ code: "bad_request", reason: "bad_body" });
    expect(fault.cause).toMatchObject({ name: "NotReadableError" });
  };

  describe.each<Version>(["HTTP/1.1", "HTTP/2"])("over %s", (version) => {
    it.each([
      ["the built-in FormData", FormData],
      ["undici's FormData", UndiciForm as unknown as typeof FormData],
    ])("a part of %s that cannot be read is a bad body", async (_name, Form) => {
      const { address, whole, input } = await peerOf(version);
      const mesh = doorsOf([address], { ...input, breaker: { consecutiveFailures: 1 } });
      const error = await rejectionOf(post(mesh, formOf(Form, await changed())));
      expectUnreadable(error);
      expect(whole).toEqual([]);
      expect(await post(mesh, formOf(Form, new Blob(["x".repeat(100)])))).toMatch(/^[3-9]\d\d$/);
      expect(whole[0]).toContain('name="file"; filename="a.bin"');
    });

    it("so is a blob that cannot be read", async () => {
      const { address, input } = await peerOf(version);
      const mesh = doorsOf([address], { ...input, breaker: { consecutiveFailures: 1 } });
      expectUnreadable(await rejectionOf(post(mesh, await changed())));
      expect(await post(mesh, new Blob(["fine"]))).toBe("4");
    });
  });

  it("a form with a large file is read as it is sent", async () => {
    const size = 96 * 1_048_576;
    let stalled!: () => void;
    const stall = new Promise<void>((resolve) => (stalled = resolve));
    let goOn!: () => void;
    const server = createHttp1((request, response) => {
      let bytes = 0;
      request.once("data", () => {
        request.pause();
        stalled();
        goOn = () => request.resume();
      });
      request.on("data", (chunk: Buffer) => (bytes += chunk.length));
      request.on("end", () => response.end(String(bytes)));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const mesh = doorsOf([`127.0.0.1:${(server.address() as AddressInfo).port}`]);
    const path = join(folder(), "large.bin");
    writeFileSync(path, "");
    truncateSync(path, size);
    const form = formOf(FormData, await openAsBlob(path));
    const before = liveBytes();
    const sent = post(mesh, form);
    await stall;
    await after(300);
    expect(liveBytes() - before).toBeLessThan(size / 4);
    goOn();
    expect(Number(await sent)).toBeGreaterThan(size);
  });
});

it("R8 LC: mesh.agent(): a body that is destroyed early is no fault of the endpoint", async () => {
  const { address, whole } = await peerOf("HTTP/1.1");
  const mesh = doorsOf([address], { breaker: { consecutiveFailures: 1 } });
  for (let i = 0; i < 3; i++) {
    const options = { agent: mesh.agent(), host: "orders", port: 80, method: "POST" };
    const request = nodeRequest(options);
    request.on("error", () => {});
    request.write("some");
    await once(request, "socket");
    const closed = new Promise((resolve) => void request.once("close", resolve));
    request.destroy();
    await closed;
  }
  expect(whole).toEqual([]);
  expect(mesh.snapshot().services[0]!.endpoints[0]!.breaker.state).toBe("closed");
  expect(await doors[0]![1](mesh, "fine")).toBe("4");
});
