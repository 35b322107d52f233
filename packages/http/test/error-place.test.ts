/** Errors with a place: the stack of every rejected call names the line that waits for it, and its JSON is whole. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isMeshError, MeshError, type MeshErrorJson } from "@inmesh/core";
import { createMesh, meshClient, type MeshClient } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  answering,
  clientOf,
  failureOf,
  meshOf,
  OK,
  peerOf,
  rejectionOf,
  serve,
  sleep,
} from "./wire.ts";
import { freeAddress } from "../../../scripts/free-port.ts";

/** The stack must name this function: it is the caller. */
async function thePlaceOfTheCall(work: () => Promise<unknown>): Promise<void> {
  await work();
}

async function stackOf(work: () => Promise<unknown>): Promise<string> {
  const error = await failureOf(thePlaceOfTheCall(work));
  return error.stack ?? "";
}

const never = (): Promise<MeshClient> => silent({});

async function silent(input: Parameters<typeof clientOf>[1]): Promise<MeshClient> {
  const peer = await peerOf(async (connection) => {
    await connection.readRequest();
    await connection.hold();
  });
  return clientOf([peer.address], input);
}

async function resetting(
  attempts: number,
  layers: Parameters<typeof clientOf>[2] = {},
): Promise<MeshClient> {
  const peer = await peerOf(async (connection) => {
    await connection.readRequest();
    connection.rst();
  });
  const retry = { attempts, backoffMs: 1 };
  return clientOf([peer.address], { retry }, layers);
}

const signal = (): AbortSignal => new AbortController().signal;

const failures: Record<string, () => Promise<() => Promise<unknown>>> = {
  "a refused connection": async () => {
    const client = clientOf([await freeAddress()]);
    return () => client.fetch("/");
  },
  "a reset connection": async () => {
    const client = await resetting(1);
    return () => client.fetch("/");
  },
  "a reset connection, after three attempts": async () => {
    const client = await resetting(3);
    return () => client.fetch("/");
  },
  "a reset connection, with a signal": async () => {
    const client = await resetting(1);
    return () => client.fetch("/", { signal: signal() });
  },
  "a reset connection, after three attempts with a signal": async () => {
    const client = await resetting(3);
    return () => client.fetch("/", { signal: signal() });
  },
  "a reset connection, under layers of the application": async () => {
    const client = await resetting(2, {
      callLayers: [(inner) => async (call) => await inner(call)],
      attemptLayers: [(inner) => (attempt) => inner(attempt).then((reply) => reply)],
    });
    return () => client.fetch("/");
  },
  "the call's own timeout": async () => {
    const client = await never();
    return () => client.fetch("/", { timeoutMs: 30 });
  },
  "the service's timeout": async () => {
    const client = await silent({ timeouts: { requestMs: 30 } });
    return () => client.fetch("/");
  },
  "the timeout of one attempt": async () => {
    const client = await silent({ timeouts: { backendRequestMs: 30 }, retry: { attempts: 2 } });
    return () => client.fetch("/");
  },
  "a timeout that is over before it begins": async () => {
    const client = await never();
    return () => client.fetch("/", { timeoutMs: 0 });
  },
  "too many calls": async () => {
    const client = await silent({ limits: { maxInFlight: 1 } });
    client.fetch("/").catch(() => undefined);
    return () => client.fetch("/");
  },
  "no endpoints": async () => {
    const empty = join(mkdtempSync(join(tmpdir(), "inmesh-place-")), "orders.json");
    writeFileSync(empty, "[]");
    const client = clientOf([], { discovery: { file: empty } });
    return () => client.fetch("/");
  },
  "a closed mesh": async () => {
    const client = await never();
    await client.mesh.close(0);
    return () => client.fetch("/");
  },
  "a mesh that is closed meanwhile": async () => {
    const client = await never();
    setTimeout(() => void client.mesh.close(0), 30);
    return () => client.fetch("/");
  },
  "a service that is gone": async () => {
    const client = await never();
    client.mesh.update({ services: {} });
    return () => client.fetch("/");
  },
  "a path that is none": async () => {
    const client = await never();
    return () => client.fetch("v1/orders");
  },
  "a header that is none": async () => {
    const client = await never();
    return () => client.fetch("/", { headers: { "a b": "1" } });
  },
  "a body that fails": async () => {
    const client = await never();
    const body = (async function* () {
      yield Buffer.from("half");
      await sleep(5);
      throw new Error("the disk is gone");
    })();
    return () => client.fetch("/", { method: "POST", body });
  },
  "a reply that is malformed": async () => {
    const peer = await answering("HTTP/1.1 abc\r\n\r\n");
    const client = clientOf([peer.address], { retry: { attempts: 1 } });
    return () => client.fetch("/");
  },
  "a reply with too large a head": async () => {
    const peer = await answering(`HTTP/1.1 200 OK\r\nx: ${"y".repeat(70_000)}\r\n\r\n`);
    const client = clientOf([peer.address], { retry: { attempts: 1 } });
    return () => client.fetch("/");
  },
};

describe("LC: the stack names the caller's line", () => {
  for (const [what, prepare] of Object.entries(failures)) {
    it(`P20 LC: ${what}`, async () => {
      const work = await prepare();
      expect(await stackOf(work)).toMatch(
        /^MeshError: .+\n(.*\n)*.*thePlaceOfTheCall.*error-place/,
      );
    });
  }

  it("P20 LC: through Promise.all", async () => {
    const client = await resetting(1);
    const stack = await stackOf(() => Promise.all([client.fetch("/"), sleep(50)]));
    expect(stack).toContain("thePlaceOfTheCall");
  });

  it("P20 LC: through a chain of then", async () => {
    const client = await resetting(1);
    const stack = await stackOf(() => client.fetch("/").then((reply) => reply.json()));
    expect(stack).toContain("thePlaceOfTheCall");
  });

  it.each(["text", "json", "bytes"] as const)(
    "P20 LC: a body that is cut, read by %s",
    async (how) => {
      const peer = await peerOf(async (connection) => {
        await connection.readRequest();
        await connection.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
        await sleep(20);
        connection.rst();
      });
      const reply = await clientOf([peer.address]).fetch("/");
      expect(await stackOf(() => reply[how]())).toContain("thePlaceOfTheCall");
    },
  );

  it("P20 LC: a body that was read before", async () => {
    const peer = await answering(OK);
    const reply = await clientOf([peer.address]).fetch("/");
    await reply.text();
    expect(await stackOf(() => reply.text())).toContain("thePlaceOfTheCall");
  });

  it("P20 LC: what the caller aborted with is left as it is", async () => {
    const client = await never();
    const controller = new AbortController();
    const reason = new Error("mine");
    const { stack } = reason;
    setTimeout(() => controller.abort(reason), 20);
    const error = await rejectionOf(thePlaceOfTheCall(() => client.fetch("/", controller)));
    expect(error).toBe(reason);
    expect(reason.stack).toBe(stack);
  });

  it("P20 LC: what a layer of the application throws is left as it is", async () => {
    const peer = await answering(OK);
    const own = new Error("mine");
    const { stack } = own;
    const client = clientOf([peer.address], {}, { callLayers: [() => () => Promise.reject(own)] });
    expect(await rejectionOf(client.fetch("/"))).toBe(own);
    expect(own.stack).toBe(stack);
  });

  it("P20 LC: a host that wants no stacks gets none", async () => {
    const client = await resetting(1);
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    try {
      expect(await stackOf(() => client.fetch("/"))).not.toContain("\n");
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  });
});

it("P20 LS: mesh.fetch names the caller's line, in its own error", async () => {
  const mesh = createMesh({
    env: {},
    config: { services: { orders: { discovery: { static: [await freeAddress()] } } } },
  });
  onTestFinished(() => mesh.close(0));
  const error = (await rejectionOf(thePlaceOfTheCall(() => mesh.fetch("http://orders/")))) as Error;
  expect(error).toBeInstanceOf(TypeError);
  expect(error.stack).toContain("thePlaceOfTheCall");
  expect(error.cause).toBeInstanceOf(MeshError);
});

describe("LC: an error as JSON", () => {
  it("P20 LC: has everything that a person asks for, and of the cause no more than name, message and code", async () => {
    const address = await freeAddress();
    const client = clientOf([address], { retry: { attempts: 1 } });
    const error = await failureOf(client.fetch("/", { headers: { authorization: "secret" } }));
    expect(isMeshError(error)).toBe(true);
    const json = JSON.parse(JSON.stringify({ err: error })) as { err: MeshErrorJson };
    expect(json.err).toEqual({
      name: "MeshError",
      message: error.message,
      code: "connect_failed",
      reason: "connect_refused",
      progress: "not-sent",
      endpoint: address,
      attempts: error.attempts,
      ...(error.noRetry === undefined ? {} : { noRetry: error.noRetry }),
      cause: {
        name: "Error",
        message: expect.stringContaining("ECONNREFUSED"),
        code: "ECONNREFUSED",
      },
    });
    expect(JSON.stringify(json)).not.toContain("secret");
  });

  it("P20 LC: a cause that is no error is its text", () => {
    const error = new MeshError({
      code: "cancelled",
      reason: "caller",
      message: "orders: aborted",
      progress: "not-sent",
      cause: { toString: () => "gone", secret: "s" },
    });
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ cause: { message: "gone" } });
  });
});

describe("LC: why a reply was not retried", () => {
  const replies: [string, object, object, string | undefined][] = [
    ["a success", { method: "GET" }, {}, undefined],
    ["the attempts are used up", { method: "GET" }, { "x-status": "503" }, "attempts"],
    ["the call is not idempotent", { method: "POST" }, { "x-status": "503" }, "not_idempotent"],
    ["a status that is not retried", { method: "GET" }, { "x-status": "404" }, undefined],
  ];
  it.each(replies)("P20 LC: %s", async (_what, init, headers, noRetry) => {
    const served = await serve((request, response) => {
      response.statusCode = Number(request.headers["x-status"] ?? 200);
      response.end();
    });
    const retry = { attempts: 2, backoffMs: 1 };
    const client = meshClient("orders", {
      mesh: meshOf({
        config: { services: { orders: { discovery: { static: [served.address] }, retry } } },
      }),
    });
    const { mesh } = await client.fetch("/", {
      ...init,
      headers: headers as Record<string, string>,
    });
    expect(mesh.noRetry).toBe(noRetry);
    if (noRetry === undefined) expect(mesh.why).not.toContain("not retried");
    else expect(mesh.why).toMatch(/; not retried: .{10,}/);
  });
});
