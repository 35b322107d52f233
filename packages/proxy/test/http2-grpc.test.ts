/** gRPC through the proxy: the four kinds of calls, their deadlines, cancels and errors, by grpc-js on both sides. */
import * as grpc from "@grpc/grpc-js";
import { describe, expect, it, onTestFinished } from "vitest";
import { ask2, client2, origin2 } from "./support/http2.ts";
import { proxied } from "./support/proxied.ts";
import { TEXT_SERVICE, TextClient } from "./support/text-service.ts";

async function serve(
  handlers: grpc.UntypedServiceImplementation,
): Promise<grpc.Server & { address: string }> {
  const server = new grpc.Server();
  server.addService(TEXT_SERVICE, {
    unary: () => {},
    collect: () => {},
    expand: () => {},
    chat: () => {},
    ...handlers,
  });
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  onTestFinished(() => server.forceShutdown());
  return Object.assign(server, { address: `127.0.0.1:${port}` });
}

async function through(handlers: grpc.UntypedServiceImplementation, more: object = {}) {
  const server = await serve(handlers);
  // The service speaks HTTP/1.1 as far as its configuration says: gRPC has HTTP/2 all the same.
  const { port, mesh } = await proxied(
    { orders: { discovery: { static: [server.address] }, ...more } },
    { spoken: "http2", listener: { service: "orders" } },
  );
  const client = new TextClient(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  onTestFinished(() => client.close());
  // Generic clients have no types of their methods.
  return {
    client: client as unknown as Record<string, (...args: unknown[]) => any>,
    server,
    mesh,
    port,
  };
}

interface Answered {
  readonly error: grpc.ServiceError | null;
  readonly value: string | undefined;
}

function unary(
  client: Record<string, (...args: unknown[]) => any>,
  value: string,
  ...rest: unknown[]
): Promise<Answered> {
  return new Promise((resolve) =>
    client["unary"]!(value, ...rest, (error: grpc.ServiceError | null, got?: string) =>
      resolve({ error, value: got }),
    ),
  );
}

describe("gRPC through the proxy", () => {
  it("unary, with metadata and trailers in both directions", async () => {
    const { client } = await through({
      unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
        const initial = new grpc.Metadata();
        initial.set("x-echo", call.metadata.get("x-sent")[0]!);
        initial.set("x-bin", call.metadata.get("x-bin")[0]!);
        call.sendMetadata(initial);
        const trailing = new grpc.Metadata();
        trailing.set("x-end", "1");
        done(null, `${call.request}!`, trailing);
      },
    });
    const metadata = new grpc.Metadata();
    metadata.set("x-sent", "1");
    metadata.set("x-bin", Buffer.from([0, 255]));
    let initial: grpc.Metadata | undefined;
    let status: grpc.StatusObject | undefined;
    const value = await new Promise((resolve, reject) => {
      const call = client["unary"]!("a", metadata, (error: Error | null, got: string) =>
        error === null ? resolve(got) : reject(error),
      );
      call.on("metadata", (one: grpc.Metadata) => (initial = one));
      call.on("status", (one: grpc.StatusObject) => (status = one));
    });
    expect(value).toBe("a!");
    expect(initial!.get("x-echo")).toEqual(["1"]);
    expect(initial!.get("x-bin")).toEqual([Buffer.from([0, 255])]);
    await expect.poll(() => status?.metadata.get("x-end")).toEqual(["1"]);
  });

  it("client streaming, 100 messages of 32 KiB", async () => {
    const { client } = await through({
      collect: (
        call: grpc.ServerReadableStream<string, string>,
        done: grpc.sendUnaryData<string>,
      ) => {
        let bytes = 0;
        call.on("data", (one: string) => (bytes += one.length));
        call.on("end", () => done(null, String(bytes)));
      },
    });
    const message = "x".repeat(32_768);
    const total = await new Promise((resolve, reject) => {
      const call = client["collect"]!((error: Error | null, got: string) =>
        error === null ? resolve(got) : reject(error),
      );
      for (let i = 0; i < 100; i++) call.write(message);
      call.end();
    });
    expect(total).toBe(String(100 * message.length));
  });

  it("server streaming, 1,000 messages in order", async () => {
    const { client } = await through({
      expand: (call: grpc.ServerWritableStream<string, string>) => {
        for (let i = 0; i < 1_000; i++) call.write(String(i));
        call.end();
      },
    });
    const got: string[] = [];
    for await (const one of client["expand"]!("go")) got.push(one);
    expect(got).toEqual(Array.from({ length: 1_000 }, (_, i) => String(i)));
  });

  it("bidirectional: each message is answered before the next is sent", async () => {
    const { client } = await through({
      chat: (call: grpc.ServerDuplexStream<string, string>) => {
        call.on("data", (one: string) => call.write(`${one}!`));
        call.on("end", () => call.end());
      },
    });
    const call = client["chat"]!();
    const answers: string[] = [];
    for (let i = 0; i < 50; i++) {
      const answer = new Promise((resolve) => call.once("data", resolve));
      call.write(String(i));
      answers.push((await answer) as string);
    }
    const ended = new Promise((resolve) => call.on("end", resolve));
    call.end();
    call.resume();
    await ended;
    expect(answers).toEqual(Array.from({ length: 50 }, (_, i) => `${i}!`));
  });

  it("G8 P22: a status without a message, and one of every kind, arrives as it was sent", async () => {
    const { client } = await through({
      unary: (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) =>
        done({ code: Number(call.request), details: "a % and \u00fc" }),
    });
    for (const code of [3, 5, 7, 12, 16]) {
      const { error } = await unary(client, String(code));
      expect(error).toMatchObject({ code, details: "a % and \u00fc" });
    }
  });

  it("G9 P22: a cancel reaches the handler, and its deadline is passed on", async () => {
    const cancelled = Promise.withResolvers<void>();
    let deadlineAt = 0;
    const { client } = await through({
      chat: (call: grpc.ServerDuplexStream<string, string>) => {
        deadlineAt = Number(call.getDeadline());
        call.on("cancelled", () => cancelled.resolve());
        call.write("here");
      },
    });
    const call = client["chat"]!({ deadline: Date.now() + 20_000 });
    call.on("error", () => {});
    await new Promise((resolve) => call.once("data", resolve));
    call.cancel();
    await cancelled.promise;
    expect(deadlineAt - Date.now()).toBeLessThan(20_000);
    expect(deadlineAt - Date.now()).toBeGreaterThan(10_000);
  });

  it("C11 P22, G9 P22: a server that is lost in the middle of a reply is UNAVAILABLE", async () => {
    const { client, server } = await through({
      expand: (call: grpc.ServerWritableStream<string, string>) => call.write("first"),
    });
    const call = client["expand"]!("go");
    const failed = new Promise<grpc.ServiceError>((resolve) => call.on("error", resolve));
    await new Promise((resolve) => call.once("data", resolve));
    server.forceShutdown();
    expect((await failed).code).toBe(grpc.status.UNAVAILABLE);
  });

  it("what the proxy itself refuses, and what it does not reach, has a status of gRPC", async () => {
    const { client, server, mesh, port } = await through({});
    const call = {
      ":method": "POST",
      ":path": "/t.T/Unary",
      "content-type": "application/grpc",
      "grpc-timeout": "300m",
      te: "trailers",
    };
    const late = await ask2(client2(port), call, Buffer.from("\0\0\0\0\x01a"));
    expect(late.headers).toMatchObject({ ":status": 200, "grpc-status": "4" });
    server.forceShutdown();
    await expect
      .poll(async () => (await unary(client, "x")).error?.code)
      .toBe(grpc.status.UNAVAILABLE);
    expect(mesh.snapshot().services[0]).toMatchObject({ callsInFlight: 0 });
  });

  it("G7 P22: what remains of the deadline goes on, as gRPC says it", async () => {
    let timeout = "";
    const origin = await origin2((stream, headers) => {
      timeout = String(headers["grpc-timeout"]);
      stream.resume();
      stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true });
    });
    const { port } = await proxied({ orders: [origin.address] }, { spoken: "http2" });
    const call = { ":method": "POST", "content-type": "application/grpc", "grpc-timeout": "10S" };
    await ask2(client2(port), call, "");
    expect(timeout).toMatch(/^\d+m$/);
    expect(Number.parseInt(timeout, 10)).toBeLessThanOrEqual(10_000);
    expect(Number.parseInt(timeout, 10)).toBeGreaterThan(9_000);
  });

  it("G8 P22: the status of gRPC judges the server, in the head and behind the messages; none is a failure", async () => {
    const origin = await origin2((stream, headers) => {
      stream.resume();
      const status = String(headers[":path"]).slice(1);
      if (status === "none") {
        stream.respond({ ":status": 200 });
        stream.end("x");
      } else if (status === "head") {
        stream.respond({ ":status": 200, "grpc-status": "13" }, { endStream: true });
      } else {
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": status }));
        stream.end("x");
      }
    });
    const { port, mesh } = await proxied({ orders: [origin.address] }, { spoken: "http2" });
    const session = client2(port);
    const failures = async (path: string): Promise<number> => {
      const of = (): number =>
        mesh.snapshot().services[0]?.endpoints[0]?.breaker.consecutiveFailures ?? 0;
      // One that succeeds sets the count back.
      const call = { ":method": "POST", ":path": path, "content-type": "application/grpc" };
      await ask2(session, { ...call, ":path": "/0" }, "");
      await ask2(session, call, "");
      return of();
    };
    expect(await failures("/0")).toBe(0);
    expect(await failures("/5")).toBe(0);
    expect(await failures("/14")).toBe(1);
    expect(await failures("/head")).toBe(1);
    expect(await failures("/none")).toBe(1);
  });
});
