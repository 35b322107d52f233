/** The application's global dispatcher, and a test that forbids the network, at every door. */
import { once } from "node:events";
import { execFile } from "node:child_process";
import http, { request as httpRequest } from "node:http";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { meshClient, type HttpMesh } from "@inmesh/http";
import {
  Agent,
  MockAgent,
  getGlobalDispatcher,
  setGlobalDispatcher,
  type Dispatcher,
} from "undici";
import { describe, expect, it, onTestFinished } from "vitest";
import { doorsOf, Recorded } from "./support/doors.ts";
import { answering, counted, OK, serve } from "./wire.ts";

const LEGACY = Symbol.for("undici.globalDispatcher.1");
const symbols = globalThis as unknown as Record<symbol, Dispatcher>;

/** Until the test ends. */
function setGlobal(dispatcher: Dispatcher): void {
  const before = getGlobalDispatcher();
  setGlobalDispatcher(dispatcher);
  onTestFinished(() => setGlobalDispatcher(before));
}

/** Written by undici 6 and 7, and by Node 22 and 24. */
function setLegacyGlobal(dispatcher: object): void {
  const before = symbols[LEGACY]!;
  symbols[LEGACY] = dispatcher as Dispatcher;
  onTestFinished(() => void (symbols[LEGACY] = before));
}

/** As a proxy would: sends everything to one server, and says that it has. */
class Detour extends Agent {
  readonly origins: unknown[] = [];
  readonly #to: string;

  constructor(to: string) {
    super();
    this.#to = to;
    onTestFinished(() => this.destroy());
  }

  override dispatch(options: Agent.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    this.origins.push(options.origin);
    return super.dispatch({ ...options, origin: this.#to }, handler);
  }
}

/** An agent with handlers of undici 6, made of one of 8. */
class LegacyDetour {
  readonly origins: unknown[] = [];
  readonly #to: string;
  readonly #agent = new Agent();

  constructor(to: string) {
    this.#to = to;
    onTestFinished(() => this.#agent.destroy());
  }

  dispatch(options: Agent.DispatchOptions, handler: any): boolean {
    this.origins.push(options.origin);
    expect(typeof handler.onConnect).toBe("function");
    expect(handler.onRequestStart).toBeUndefined();
    return this.#agent.dispatch(
      { ...options, origin: this.#to },
      {
        onRequestStart: (controller, context) =>
          handler.onConnect((reason: Error) => controller.abort(reason), context),
        onResponseStart: (controller, status, _headers, statusText) => {
          const raw = (controller.rawHeaders as string[]).map((one) => Buffer.from(one));
          const goOn = handler.onHeaders(status, raw, () => controller.resume(), statusText);
          if (goOn === false) controller.pause();
        },
        onResponseData: (controller, chunk) => {
          if (handler.onData(chunk) === false) controller.pause();
        },
        onResponseEnd: () => handler.onComplete([]),
        onResponseError: (_controller, error) => handler.onError(error),
      },
    );
  }
}

describe("R29 LC: global dispatcher of the application", () => {
  it("R29 LC: origins outside the mesh go through the one that is set at the time of the call", async () => {
    const [proxy, own] = [await answering(OK), await answering(OK)];
    const mesh = doorsOf([own.address]);
    const detour = new Detour(`http://${proxy.address}`);
    const outside = { origin: "http://outside.example" };
    setGlobal(detour);
    expect(await new Recorded(mesh.dispatcher, outside).over).toBeUndefined();
    expect(await (await mesh.fetch("http://outside.example/")).text()).toBe("ok");
    expect(detour.origins.map(String)).toEqual(Array(2).fill("http://outside.example"));
    // Services are called as ever.
    expect(await (await mesh.fetch("http://orders/")).text()).toBe("ok");
    expect([proxy.requests.length, own.requests.length]).toEqual([2, 1]);

    const second = new Detour(`http://${proxy.address}`);
    setGlobal(second);
    expect(await new Recorded(mesh.dispatcher, outside).over).toBeUndefined();
    expect([detour.origins.length, second.origins.length]).toEqual([2, 1]);
  });

  it("R29 LC: also one of undici 6 or 7, with its older handlers", async () => {
    const large = "x".repeat(300_000);
    const { address } = await serve((incoming, outgoing) => {
      outgoing.setHeader("set-cookie", ["a=1", "b=2"]);
      outgoing.end(incoming.url === "/large" ? large : "ok");
    });
    const mesh = doorsOf(["127.0.0.1:1"]);
    const detour = new LegacyDetour(`http://${address}`);
    setLegacyGlobal(detour);
    const recorded = new Recorded(mesh.dispatcher, { origin: "http://outside.example" });
    expect(await recorded.over).toBeUndefined();
    expect(recorded.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
    expect(recorded.text).toBe("ok");
    const reply = await mesh.fetch("http://outside.example/large");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await reply.text()).toBe(large);
    const aborted = new Recorded(mesh.dispatcher, { origin: "http://outside.example" });
    const reason = new Error("enough");
    await new Promise((resolve) => setImmediate(resolve));
    aborted.controller!.abort(reason);
    expect(await aborted.over).toBe(reason);
    expect(detour.origins).toHaveLength(3);
  });

  it("R29 LC: mesh.agent() passes other origins to node's global agent of that time", async () => {
    const { address } = await answering(OK);
    const mesh = doorsOf(["127.0.0.1:1"]);
    const before = http.globalAgent;
    const asked: unknown[] = [];
    class Own extends http.Agent {
      override createConnection(...args: Parameters<http.Agent["createConnection"]>) {
        asked.push(args[0].host);
        const [host, port] = address.split(":");
        return super.createConnection({ ...args[0], host, port: Number(port) }, args[1]);
      }
    }
    const own = new Own({ keepAlive: true });
    http.globalAgent = own;
    onTestFinished(() => {
      http.globalAgent = before;
      own.destroy();
    });
    const [reply] = (await once(
      httpRequest("http://outside.example/", { agent: mesh.agent() }).end(),
      "response",
    )) as [http.IncomingMessage];
    expect(await text(reply)).toBe("ok");
    expect(asked).toEqual(["outside.example"]);
    // One that is the mesh's own ends there.
    http.globalAgent = mesh.agent();
    const [direct] = (await once(
      httpRequest(`http://${address}/`, { agent: mesh.agent() }).end(),
      "response",
    )) as [http.IncomingMessage];
    expect(await text(direct)).toBe("ok");
  });

  it("R29 LC: the proxy of the environment has other origins of mesh.agent(), and no service", async () => {
    const recorded = (name: string) =>
      serve((incoming, outgoing) => {
        const { host, "proxy-connection": proxied } = incoming.headers;
        outgoing.end(`${name} ${incoming.url} ${host} ${proxied !== undefined}`);
      });
    const [proxy, orders] = [await recorded("proxy"), await recorded("orders")];
    const child = promisify(execFile)(
      process.execPath,
      [
        "--conditions=inmesh-source",
        `${import.meta.dirname}/children/env-proxy.ts`,
        orders.address,
      ],
      { env: { ...process.env, NODE_USE_ENV_PROXY: "1", HTTP_PROXY: `http://${proxy.address}` } },
    );
    expect(JSON.parse((await child).stdout)).toEqual([
      "orders /a?b=1 orders false",
      "proxy http://outside.example/c?d=2 outside.example true",
    ]);
  });

  it("R29 LC: a mesh that is itself the global dispatcher, also behind interceptors, ends there", async () => {
    const { address } = await answering(OK);
    const mesh = doorsOf(["127.0.0.1:1"]);
    for (const dispatcher of [
      mesh.dispatcher,
      mesh.dispatcher.compose(
        (dispatch) => (options, handler) => dispatch({ ...options }, handler),
      ),
      mesh.dispatcher.compose(
        (dispatch) =>
          (options, handler): boolean =>
            setImmediate(() => dispatch({ ...options }, handler)).hasRef(),
      ),
    ]) {
      setGlobal(dispatcher);
      expect(
        await new Recorded(mesh.dispatcher, { origin: `http://${address}` }).over,
      ).toBeUndefined();
      const remove = mesh.installGlobal();
      expect(
        await new Recorded(mesh.dispatcher, { origin: `http://${address}` }).over,
      ).toBeUndefined();
      remove();
    }
  });
});

describe("R37 LC: a test that forbids the network", () => {
  /** Every way to ask `orders` for `/x` that goes by undici. */
  const doors = (mesh: HttpMesh): Record<string, () => Promise<string>> => ({
    fetch: async () => (await mesh.fetch("http://orders/x")).text(),
    dispatcher: async () =>
      (
        await mesh.dispatcher.request({ origin: "http://orders", path: "/x", method: "GET" })
      ).body.text(),
    legacy: async () => {
      const init: object = { dispatcher: mesh.dispatcher };
      return (await fetch("http://orders/x", init)).text();
    },
    client: async () => (await meshClient("orders", { mesh }).fetch("/x")).text(),
    builtIn: async () => (await fetch("http://orders/x")).text(),
  });

  it("R37 LC: reaches no endpoint by any door, whichever was installed first", async () => {
    const peer = await answering(OK);
    for (const installed of ["before", "after", "never"]) {
      const mesh = doorsOf([peer.address]);
      const mock = new MockAgent();
      mock.disableNetConnect();
      const remove = installed === "before" ? mesh.installGlobal() : undefined;
      setGlobal(mock);
      const later = installed === "after" ? mesh.installGlobal() : undefined;
      for (const [door, ask] of Object.entries(doors(mesh))) {
        await expect(ask(), `${door}, installed ${installed}`).rejects.toThrow();
        mock.get("http://orders").intercept({ path: "/x" }).reply(200, `mocked for ${door}`);
        expect(await ask(), `${door}, installed ${installed}`).toBe(`mocked for ${door}`);
      }
      mock.assertNoPendingInterceptors();
      const asked = httpRequest("http://orders/x", { agent: mesh.agent() }).end();
      const [error] = (await once(asked, "error")) as [Error];
      expect(error).toMatchObject({ cause: { code: "denied", reason: "policy" } });
      later?.();
      remove?.();
      expect(counted(mesh, "inmesh.attempts")).toBe(0);
      setGlobalDispatcher(new Agent());
    }
    expect(peer.connections).toBe(0);
  });

  it("R37 LC: bodies, bodies of replies, errors and deadlines are the mock's", async () => {
    const mesh = doorsOf(["127.0.0.1:1"]);
    const mock = new MockAgent();
    mock.disableNetConnect();
    setGlobal(mock);
    const orders = meshClient("orders", { mesh });
    const pool = mock.get("http://orders");
    const body = JSON.stringify({ id: 1 });
    for (const ask of [
      () => orders.fetch("/new", { method: "POST", body }),
      () => mesh.fetch("http://orders/new", { method: "POST", body }),
      () => {
        const init: object = { method: "POST", body, dispatcher: mesh.dispatcher };
        return fetch("http://orders/new", init);
      },
    ]) {
      pool.intercept({ path: "/new", method: "POST", body }).reply(201, { id: 1 });
      const reply = await ask();
      expect([reply.status, await reply.json()]).toEqual([201, { id: 1 }]);
    }
    pool.intercept({ path: "/broken" }).replyWithError(new Error("as mocked"));
    await expect(orders.fetch("/broken")).rejects.toMatchObject({
      cause: { message: "as mocked" },
    });
    pool.intercept({ path: "/slow" }).reply(200, "late").delay(5_000);
    await expect(orders.fetch("/slow", { timeoutMs: 30 })).rejects.toMatchObject({
      code: "deadline_exceeded",
    });
  });

  it("R37 LC: a MockAgent that is deactivated lets calls go to their endpoints again", async () => {
    const peer = await answering(OK);
    const mesh = doorsOf([peer.address]);
    const mock = new MockAgent();
    setGlobal(mock);
    mock.deactivate();
    expect(await (await mesh.fetch("http://orders/x")).text()).toBe("ok");
    expect(await (await meshClient("orders", { mesh }).fetch("/x")).text()).toBe("ok");
    expect(peer.requests).toHaveLength(2);
  });

  it("R37 LC: a MockAgent of another undici is known by its methods", async () => {
    const mock = new MockAgent();
    mock.disableNetConnect();
    mock.get("http://orders").intercept({ path: "/x" }).reply(200, "mocked");
    onTestFinished(() => mock.close());
    const other = {
      get: () => {},
      activate: () => {},
      deactivate: () => {},
      disableNetConnect: () => {},
      enableNetConnect: () => {},
      assertNoPendingInterceptors: () => {},
      isMockActive: true,
      dispatch: (options: Dispatcher.DispatchOptions, handler: any): boolean => {
        expect(typeof handler.onConnect).toBe("function");
        handler.onConnect(() => {}, null);
        handler.onHeaders(200, [Buffer.from("X-By"), Buffer.from("other")], () => {}, "OK");
        handler.onData(Buffer.from(`mocked ${options.origin}${options.path}`));
        handler.onComplete([]);
        return true;
      },
    };
    setLegacyGlobal(other);
    const mesh = doorsOf(["127.0.0.1:1"]);
    expect(await (await mesh.fetch("http://orders/x")).text()).toBe("mocked http://orders/x");
    const reply = await meshClient("orders", { mesh }).fetch("/x");
    expect([reply.headers.get("x-by"), await reply.text()]).toEqual([
      "other",
      "mocked http://orders/x",
    ]);
  });
});
