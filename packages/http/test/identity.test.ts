/** Identity sources from outside, at clients and servers of HTTP: rotation, whom they accept, what they do wrong. */
import type { RequestListener } from "node:http";
import {
  context,
  ConfigError,
  ServedRequest,
  type IdentitySource,
  type LogLine,
  type Mesh,
} from "@inmesh/core";
import type { ServerPeer } from "@inmesh/core";
import { meshClient, meshServer, type MeshServer, type ServerOptions } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { TestCa } from "./support/ca.ts";
import { CART, GivenIdentity, idsOf, only, ORDERS } from "./support/identity.ts";
import { DAY_MS } from "./support/tls.ts";
import { counted, failureOf, meshOf, sleep, until } from "./wire.ts";

const ca = new TestCa();
const idOf = idsOf(ca);

interface Pair {
  readonly mesh: Mesh;
  /** Of the server. */
  readonly serving: Mesh;
  readonly server: MeshServer;
  readonly fetch: (init?: Parameters<ReturnType<typeof meshClient>["fetch"]>[1]) => Promise<string>;
}

/** A server with the identity `server` and a client with the identity `client`, in two meshes. */
async function pair(
  client: IdentitySource,
  server: IdentitySource,
  options: ServerOptions & { handler?: RequestListener; h2?: boolean; lines?: LogLine[] } = {},
): Promise<Pair> {
  const {
    handler = (_request, response) => response.end("ok"),
    h2 = false,
    lines,
    ...rest
  } = options;
  const log = (line: LogLine): void => void lines?.push(line);
  const serving = meshOf({ identities: [server], log });
  const made = meshServer(handler, {
    mesh: serving,
    http2: h2,
    tls: { identity: server.name, requestCert: true, ...rest.tls },
    discoveryWaitMs: 0,
    idleWaitMs: 20,
    ...rest,
    ...(rest.tls && { tls: { identity: server.name, requestCert: true, ...rest.tls } }),
  } as ServerOptions);
  onTestFinished(() => made.close(0));
  const { port } = await made.listen(0, "127.0.0.1");
  const mesh = meshOf({
    identities: [client],
    log,
    config: {
      services: {
        orders: {
          scheme: "https",
          discovery: { static: [`127.0.0.1:${port}`] },
          tls: { identity: client.name },
          breaker: { consecutiveFailures: 0, failureSpanMs: 0, successRatio: 0 },
          http2: h2,
        },
      },
    },
  });
  const orders = meshClient("orders", { mesh });
  return {
    mesh,
    serving,
    server: made,
    fetch: async (init) => (await orders.fetch("/", init)).text(),
  };
}

for (const h2 of [false, true]) {
  const version = h2 ? "HTTP/2" : "HTTP/1.1";

  it(`observers of an attempt learn who is at the other end, over ${version}`, async () => {
    const ours = new GivenIdentity("ours", idOf(CART), only(ORDERS));
    const theirs = new GivenIdentity("theirs", idOf(ORDERS), only(CART));
    const one = await pair(ours, theirs, { h2 });
    const seen: (readonly string[] | undefined)[] = [];
    one.mesh.observe({ attemptEnded: ({ peer }) => void seen.push(peer?.uris) });
    expect(await one.fetch()).toBe("ok");
    expect(await one.fetch()).toBe("ok");
    expect(seen).toEqual([[ORDERS], [ORDERS]]);
  });

  it(`T1 LC, T1 LS: ten rotations of sources without files on both sides under load, over ${version}: no failed call`, async () => {
    const ours = new GivenIdentity("ours", idOf(CART), only(ORDERS));
    const theirs = new GivenIdentity("theirs", idOf(ORDERS), only(CART));
    const shown = new Set<string>();
    const one = await pair(ours, theirs, {
      h2,
      handler: (_request, response) => {
        shown.add(String(context.getStore()?.peer?.certificate?.fingerprint256));
        response.end("ok");
      },
    });
    const load = { stopped: false };
    const failures: string[] = [];
    let calls = 0;
    const workers = Array.from({ length: 4 }, async () => {
      while (!load.stopped) {
        const init = calls++ % 2 === 0 ? { method: "POST", body: "x" } : {};
        await one.fetch(init).catch((error: unknown) => failures.push(String(error)));
      }
    });
    for (let i = 0; i < 10; i++) {
      const before = shown.size;
      theirs.give(idOf(ORDERS));
      ours.give(idOf(CART));
      await until(() => shown.size > before, 10_000);
      await sleep(120); // what follows an answer within 100 ms is taken as one
    }
    load.stopped = true;
    await Promise.all(workers);
    expect(failures).toEqual([]);
    expect(shown.size).toBeGreaterThanOrEqual(10);
    expect(
      counted(one.mesh, "inmesh.identity.updates", { identity: "ours", result: "applied" }),
    ).toBe(11);
    expect(one.mesh.snapshot().identities).toMatchObject([{ name: "ours", state: "current" }]);
  });

  it(`T3 LC: a server that verifyPeer does not accept, over ${version}: identity_mismatch with its reason, not sent`, async () => {
    const theirs = new GivenIdentity("theirs", idOf(ORDERS));
    for (const [verify, why] of [
      [only("spiffe://shop/ns/web/sa/other"), /it is spiffe:\S+orders, not spiffe:\S+other/],
      [() => "", /it gave no reason/],
      [
        (): string => {
          throw new Error("no idea");
        },
        /no idea/,
      ],
    ] as const) {
      const one = await pair(new GivenIdentity("ours", idOf(CART), verify), theirs, { h2 });
      const error = await failureOf(one.fetch({ method: "POST", body: "x" }));
      expect(error).toMatchObject({
        code: "connect_failed",
        reason: "identity_mismatch",
        progress: "not-sent",
      });
      expect(error.message).toMatch(why);
      expect(error.message).toContain("was not accepted by the identity ours");
    }
  });

  it(`T3 LC: without verifyPeer the certificate must be for the service's name, over ${version}`, async () => {
    const theirs = new GivenIdentity("theirs", idOf(ORDERS));
    const one = await pair(new GivenIdentity("ours", idOf(CART)), theirs, { h2 });
    expect(await failureOf(one.fetch())).toMatchObject({ reason: "identity_mismatch" });
  });

  it(`T3 LS: a client that verifyPeer does not accept, over ${version}: turned away before a request, counted and logged`, async () => {
    const lines: LogLine[] = [];
    let requests = 0;
    const handler: RequestListener = (_request, response) => {
      requests++;
      response.end("ok");
    };
    const ours = new GivenIdentity("ours", idOf("spiffe://shop/ns/web/sa/thief"), only(ORDERS));
    const theirs = new GivenIdentity("theirs", idOf(ORDERS), only(CART));
    const one = await pair(ours, theirs, { h2, handler, lines });
    await failureOf(one.fetch({ method: "POST", body: "x" }));
    expect(requests).toBe(0);
    expect(one.server.snapshot().refused.handshake_failed).toBeGreaterThan(0);
    const line = lines.find(({ event }) => event === "server.peer_refused");
    expect(line?.message).toMatch(/it is \S+thief, not \S+cart/);
    ours.give(idOf(CART));
    await sleep(150); // what follows an answer within 100 ms is taken as one
    // Its breaker may have opened, and tries again by itself.
    let text = "";
    while (text !== "ok") text = await one.fetch().catch(() => sleep(50).then(() => ""));
  });

  it(`a handler, a layer and an observer see who the peer is, and its connection its own posture, over ${version}`, async () => {
    const seen: Record<string, ServerPeer | undefined> = {};
    const priorities: (string | undefined)[] = [];
    const asked: string[] = [];
    const theirs = new GivenIdentity("theirs", { ...ca.issue(), ca: ca.cert });
    const options: ServerOptions & { handler: RequestListener } = {
      tls: { rejectUnauthorized: false },
      serverLayers: [
        (inner) => (request) => {
          seen["layer"] = request.peer;
          return inner(request);
        },
      ],
      postureOf: ({ uris }) => {
        asked.push(uris.join());
        return uris.includes(CART) ? "mesh" : undefined;
      },
      handler: (_request, response) => {
        seen["handler"] = context.getStore()?.peer;
        priorities.push(context.getStore()?.priority);
        response.end("ok");
      },
    };
    const ours = new GivenIdentity("ours", idOf(CART), () => true);
    const one = await pair(ours, theirs, { ...options, h2 });
    let connections = 0;
    one.server.server.on("secureConnection", () => connections++);
    one.serving.observe({ servedStarted: ({ peer }) => void (seen["observer"] = peer) });
    for (const _ of [1, 2])
      await context.run(new ServedRequest({ priority: "critical" }), () => one.fetch());
    expect(seen["handler"]).toBe(seen["layer"]);
    expect(seen["handler"]).toMatchObject({
      address: "127.0.0.1",
      tls: true,
      names: [],
      uris: [CART],
    });
    expect(priorities).toEqual(["critical", "critical"]);
    expect(seen["observer"]).toBe(seen["layer"]);
    expect(asked).toEqual(Array.from({ length: connections }, () => CART)); // once for each connection
    // A client without a certificate has no verified peer, and the posture of the listener.
    const bare = await pair(new GivenIdentity("ours", { ca: ca.cert }, () => true), theirs, {
      ...options,
      h2,
    });

    await bare.fetch();
    expect(seen["handler"]).toMatchObject({
      tls: true,
      names: [],
      uris: [],
      certificate: undefined,
    });
    expect(priorities.at(-1)).toBe("normal");
    expect(asked).toHaveLength(connections);
  });
}

it("T3 LS: what verifyPeer refuses where certificates are not required is served without a peer", async () => {
  let peer: ServerPeer | undefined;
  let authorized: unknown;
  const handler: RequestListener = (request, response) => {
    peer = context.getStore()?.peer;
    authorized = (request.socket as { authorized?: boolean }).authorized;
    response.end("ok");
  };
  const ours = new GivenIdentity("ours", idOf(CART), only(ORDERS));
  const theirs = new GivenIdentity("theirs", idOf(ORDERS), () => "no peer today");
  const one = await pair(ours, theirs, { tls: { rejectUnauthorized: false }, handler });
  expect(await one.fetch()).toBe("ok");
  expect(peer).toMatchObject({ tls: true, certificate: undefined, uris: [] });
  expect(authorized).toBe(false);
});

describe("sources that do something wrong", () => {
  const current = { state: "current", problem: undefined };
  const refused = { state: "refused" };

  it("T8 LC: unreadable, expired, without a key, a path, no object: refused, counted and logged, and the last good one stays", async () => {
    const lines: LogLine[] = [];
    const ours = new GivenIdentity("ours", idOf(CART), only(ORDERS));
    const one = await pair(ours, new GivenIdentity("theirs", idOf(ORDERS)), { lines });
    const wrong: (readonly [unknown, RegExp])[] = [
      [{ ...idOf(CART), cert: "garbage" }, /^cert must hold at least one certificate/],
      [{ ...idOf(CART), key: idOf(CART).key }, /^key must be the key of the first certificate/],
      [{ cert: idOf(CART).cert }, /^key must be written too/],
      [{ ...idOf(CART), cert: "/etc/passwd" }, /^cert must hold at least one certificate/],
      [{ ...idOf(CART), ca: "" }, /^ca must hold at least one certificate/],
      [idOf(CART, Date.now() - DAY_MS), /has expired$/],
      [{ ...idOf(CART), expiresAt: Date.now() - 1 }, /has expired$/],
      [{ ...idOf(CART), expiresAt: "soon" }, /^expiresAt must be an instant/],
      [undefined, /must be an object/],
      ["text", /must be an object/],
    ];
    for (const [material, rule] of wrong) {
      await sleep(110);
      (ours.give as (material: unknown) => void).call(ours, material);
      const [state] = one.mesh.snapshot().identities;
      expect(state).toMatchObject(refused);
      expect(state!.problem).toMatch(rule);
      expect(await one.fetch()).toBe("ok");
    }
    expect(counted(one.mesh, "inmesh.identity.updates", { result: "refused" })).toBe(wrong.length);
    expect(counted(one.mesh, "inmesh.identity.problem", { identity: "ours" })).toBe(1);
    expect(lines.filter(({ event }) => event === "identity.refused")).toHaveLength(wrong.length);
    await sleep(110);
    ours.give(idOf(CART));
    expect(one.mesh.snapshot().identities).toMatchObject([current]);
    expect(await one.fetch()).toBe("ok");
  });

  it("T8 LC: a source that throws is asked again; a call that is made meanwhile waits for it", async () => {
    const ours = new GivenIdentity("ours", idOf(CART), only(ORDERS));
    const watch = ours.watch.bind(ours);
    let watches = 0;
    ours.watch = (sink) => {
      if (watches++ === 0) throw new Error("no agent");
      return watch(sink);
    };
    const one = await pair(ours, new GivenIdentity("theirs", idOf(ORDERS)));
    expect(one.mesh.snapshot().identities[0]!.problem).toBe("no agent");
    expect(await one.fetch()).toBe("ok");
    expect(watches).toBe(2);
    expect(one.mesh.snapshot().identities).toMatchObject([current]);
    expect(counted(one.mesh, "inmesh.identity.updates", { result: "failed" })).toBe(1);
  });

  it("T8 LC: a source that never answers: calls wait, and then say so; nothing is sent", async () => {
    const one = await pair(new GivenIdentity("ours"), new GivenIdentity("theirs", idOf(ORDERS)));
    const startedAt = performance.now();
    const error = await failureOf(one.fetch());
    expect(performance.now() - startedAt).toBeGreaterThan(2_500);
    expect(error).toMatchObject({
      code: "identity_unavailable",
      reason: "no_certificate",
      progress: "not-sent",
    });
    expect(error.message).toMatch(/identity of orders/);
    expect(one.mesh.snapshot().identities).toMatchObject([{ state: "waiting" }]);
  });

  it("T8 LC: many answers at once are taken as one, and the same again is no rotation", async () => {
    const ours = new GivenIdentity("ours", idOf(CART), only(ORDERS));
    const one = await pair(ours, new GivenIdentity("theirs", idOf(ORDERS)));
    await sleep(110);
    const last = idOf(CART);
    for (let i = 0; i < 50; i++) ours.give(i < 49 ? idOf(CART) : last);
    await sleep(120);
    const applied = (): number =>
      counted(one.mesh, "inmesh.identity.updates", { identity: "ours", result: "applied" });
    expect(applied()).toBe(3); // the first, the first of the fifty, and the last
    await sleep(120);
    ours.give(last);
    expect(applied()).toBe(3);
    expect(counted(one.mesh, "inmesh.identity.updates", { result: "unchanged" })).toBe(1);
    expect(await one.fetch()).toBe("ok");
  });

  it("T8 LC: what a source says after it was stopped has no effect, and it is stopped once", async () => {
    const ours = new GivenIdentity("ours", idOf(CART), only(ORDERS));
    const one = await pair(ours, new GivenIdentity("theirs", idOf(ORDERS)));
    await one.fetch();
    await one.mesh.close(1_000);
    expect(ours.stops).toBe(1);
    const before = counted(one.mesh, "inmesh.identity.updates");
    ours.give(idOf(CART));
    ours.sinks[0]!.failed(new Error("late"));
    expect(counted(one.mesh, "inmesh.identity.updates")).toBe(before);
    await one.mesh.close();
    expect(ours.stops).toBe(1);
  });

  it("T8 LS: a server waits for the first certificate before it listens", async () => {
    const theirs = new GivenIdentity("theirs");
    setTimeout(() => theirs.give(idOf(ORDERS)), 200);
    const startedAt = performance.now();
    const one = await pair(new GivenIdentity("ours", idOf(CART), only(ORDERS)), theirs);
    expect(performance.now() - startedAt).toBeGreaterThan(190);
    expect(await one.fetch()).toBe("ok");
    await sleep(110);
    theirs.give({ ca: ca.cert });
    expect(one.server.snapshot().problem).toMatch(/^cert must be there/);
    expect(await one.fetch()).toBe("ok");
  });
});

it("sources that are none, and names that nothing has, are mistakes at the start, all at once", () => {
  const watch = (): { stop(): void } => ({ stop() {} });
  const messageOf = (make: () => unknown): string => {
    try {
      make();
    } catch (error) {
      if (error instanceof ConfigError || error instanceof TypeError) return error.message;
    }
    throw new Error("it was accepted");
  };
  const identities = [
    { name: "files", watch },
    { name: "a b", watch },
    { name: "x", watch },
    { name: "x", watch: 1 },
    undefined,
  ] as unknown as IdentitySource[];
  const message = messageOf(() => meshOf({ identities }));
  for (const part of [
    "identities[0].name: must not be files",
    "identities[1].name: must be 1 to 40 letters",
    "identities[3].name: must be one that no other has",
    "identities[3].watch: must be a function",
    "identities[4].watch: must be a function",
  ]) {
    expect(message).toContain(part);
  }
  const config = (tls: object): string =>
    messageOf(() =>
      meshOf({
        identities: [{ name: "spire", watch }],
        config: { services: { orders: { url: "https://orders.test", tls } } },
      }),
    );
  expect(config({ identity: "spir" })).toMatch(
    /services\.orders\.tls\.identity: is not known; did you mean "spire"/,
  );
  expect(config({ identity: "spire", ca: "/etc/ca.pem" })).toMatch(
    /services\.orders\.tls\.ca: must not be written where tls\.identity is spire/,
  );
  const ok: RequestListener = () => {};
  expect(messageOf(() => meshServer(ok, { tls: { identity: "spire" } }))).toMatch(
    /tls\.identity spire is no source of this mesh/,
  );
  expect(messageOf(() => meshServer(ok, { tls: { identity: "x", cert: "a" } }))).toMatch(
    /must not be written where tls\.identity is x/,
  );
});
