/** `inmesh/testing`: a stub behaves as a service does, and says what was asked of it. */
import { setTimeout as pause } from "node:timers/promises";
import axios from "axios";
import { describe, expect, it, onTestFinished } from "vitest";
import { defaultMesh, meshClient, MeshError } from "../src/index.ts";
import {
  fault,
  inTurn,
  json,
  slow,
  status,
  stubMesh,
  text,
  type StubAnswers,
  type StubMesh,
  type StubOptions,
} from "../src/testing/index.ts";

async function stubbed(answers: StubAnswers, options?: StubOptions): Promise<StubMesh> {
  const stub = await stubMesh(answers, options);
  onTestFinished(() => stub.close());
  return stub;
}

const failureOf = (call: Promise<unknown>): Promise<MeshError> =>
  call.then(
    () => expect.fail("the call was answered"),
    (error: unknown) => {
      if (error instanceof MeshError) return error;
      throw error;
    },
  );

describe("stubMesh", () => {
  it("answers at every door, and records what arrived", async () => {
    const stub = await stubbed({
      orders: {
        "GET /v1/orders/1": json({ id: 1 }),
        "POST /v1/orders": (request) => json({ made: request.json() }, { status: 201 }),
      },
      users: { "GET /me": text("ada") },
    });
    const orders = meshClient("orders", { mesh: stub.mesh });
    expect(await (await orders.fetch("/v1/orders/1?full=1")).json()).toEqual({ id: 1 });
    const made = await stub.mesh.fetch("http://orders/v1/orders", {
      method: "POST",
      body: JSON.stringify({ item: "tea" }),
    });
    expect([made.status, await made.json()]).toEqual([201, { made: { item: "tea" } }]);
    const me = await axios.get<string>("http://users/me", { httpAgent: stub.mesh.agent() });
    expect(me.data).toBe("ada");

    expect(stub.requests("orders")).toMatchObject([
      { service: "orders", method: "GET", path: "/v1/orders/1", text: "" },
      { service: "orders", method: "POST", path: "/v1/orders", text: '{"item":"tea"}' },
    ]);
    expect(stub.requests("orders")[0]!.query.get("full")).toBe("1");
    expect(stub.requests()).toHaveLength(3);
    expect(stub.unanswered).toEqual([]);
  });

  it("retries, deadlines and errors are the mesh's own", async () => {
    const stub = await stubbed({
      orders: {
        "GET /flaky": inTurn(status(503), json("at last")),
        "GET /late": slow(2_000, json("late")),
        "GET /reset": fault("reset"),
        "POST /reset": fault("reset"),
        "GET /cut": fault("cut"),
        "GET /silence": fault("silence"),
        "POST /garbage": fault("garbage"),
      },
    });
    const orders = meshClient("orders", { mesh: stub.mesh });
    const flaky = await orders.fetch("/flaky");
    expect([await flaky.json(), flaky.mesh.attempts]).toEqual(["at last", 2]);
    expect(stub.requests()).toHaveLength(2);

    const late = await failureOf(orders.fetch("/late", { timeoutMs: 100 }));
    expect(late).toMatchObject({ code: "deadline_exceeded", progress: "maybe-processed" });
    const silent = await failureOf(orders.fetch("/silence", { timeoutMs: 100 }));
    expect(silent.code).toBe("deadline_exceeded");
    const reset = await failureOf(orders.fetch("/reset", { method: "POST" }));
    expect(reset).toMatchObject({ reason: "reset_before_response", attempts: 1 });
    const garbage = await failureOf(orders.fetch("/garbage", { method: "POST" }));
    expect(garbage.reason).toBe("malformed_response");
    const cut = await orders.fetch("/cut");
    expect((await failureOf(cut.text())).reason).toBe("reset_mid_response");
  });

  it("policies of a service are written as in a configuration", async () => {
    const stub = await stubbed(
      { orders: { "GET /flaky": inTurn(status(503), json("again")) } },
      { services: { orders: { retry: { attempts: 1 } } } },
    );
    const reply = await meshClient("orders", { mesh: stub.mesh }).fetch("/flaky");
    expect(reply.status).toBe(503);
  });

  it("the exact path goes before the longest prefix, and a method before any", async () => {
    const stub = await stubbed({
      orders: {
        "* /*": text("anything"),
        "* /v1/*": text("any method below v1"),
        "GET /v1/*": text("GET below v1"),
        "* /v1/exact": text("exact"),
      },
    });
    const orders = meshClient("orders", { mesh: stub.mesh });
    const said = async (method: string, path: string): Promise<string> =>
      (await orders.fetch(path, { method })).text();
    expect(await said("GET", "/v2")).toBe("anything");
    expect(await said("PUT", "/v1/x")).toBe("any method below v1");
    expect(await said("GET", "/v1/x")).toBe("GET below v1");
    expect(await said("GET", "/v1/exact")).toBe("exact");
  });

  it("what has no answer gets 501 with what there is, and is listed", async () => {
    const stub = await stubbed({ orders: { "GET /a": text("a"), "* /b/*": text("b") } });
    const reply = await meshClient("orders", { mesh: stub.mesh }).fetch("/c");
    expect(reply.status).toBe(501);
    expect(await reply.text()).toBe(
      "stubMesh: orders has no answer for GET /c; it has GET /a, * /b/*\n",
    );
    expect(stub.unanswered).toEqual(["orders: GET /c"]);
  });

  it("is the default mesh while it is open, if asked for", async () => {
    const stub = await stubMesh({ orders: { "GET /": text("stubbed") } }, { asDefault: true });
    try {
      expect(defaultMesh()).toBe(stub.mesh);
      expect(await (await meshClient("orders").fetch("/")).text()).toBe("stubbed");
    } finally {
      await stub.close();
    }
    expect(defaultMesh()).not.toBe(stub.mesh);
    await defaultMesh().close();
  });

  it("names every mistake of the test at once", async () => {
    const wrong = stubMesh(
      { orders: { "/v1": text("x"), "get /v1": text("x"), "GET /v1?x=1": text("x") } },
      { services: { users: {} } },
    );
    await expect(wrong).rejects.toThrow(
      'stubMesh: orders: "/v1" must be "METHOD /path", without a query; ' +
        'orders: "get /v1" must be "METHOD /path", without a query; ' +
        'orders: "GET /v1?x=1" must be "METHOD /path", without a query; ' +
        "services.users: has no answers",
    );
    expect(() => inTurn()).toThrow(TypeError);
  });

  it("close ends what is still open, and can be called twice", async () => {
    const stub = await stubMesh({ orders: { "GET /silence": fault("silence") } });
    const orders = meshClient("orders", { mesh: stub.mesh });
    const failed = failureOf(orders.fetch("/silence"));
    await pause(50);
    await Promise.all([stub.close(), stub.close()]);
    expect((await failed).code).toMatch(/^(connection_lost|cancelled|closed)$/);
  });
});
