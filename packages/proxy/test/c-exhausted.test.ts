/** C16 of mesh-proxy: its process has no descriptors left, for clients or for servers. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it, onTestFinished } from "vitest";
import { RawClient } from "../../http/test/support/raw-client.ts";
import type { Order } from "./children/starved-proxy.ts";
import { ask2, client2, origin1, origin2 } from "./support/http2.ts";
import { Client, listening } from "./support/net.ts";

interface Seen {
  readonly services: Readonly<
    Record<string, { state: string; consecutiveFailures: number; inFlight: number; dials?: number }>
  >;
}

async function starvedProxy(
  services: object,
): Promise<{ ports: number[]; order: (order: Order) => Promise<Seen>; exited: () => boolean }> {
  const path = new URL("children/starved-proxy.ts", import.meta.url).pathname;
  const flags = ["--conditions=inmesh-source", "--disable-warning=ExperimentalWarning"];
  const child = spawn(
    "/bin/sh",
    [
      "-c",
      'ulimit -n 100; exec "$0" "$@"',
      process.execPath,
      ...flags,
      path,
      JSON.stringify(services),
    ],
    { stdio: ["ignore", "inherit", "inherit", "ipc"] },
  );
  let exited = false;
  child.on("exit", () => (exited = true));
  onTestFinished(() => void child.kill("SIGKILL"));
  const [{ ports }] = (await once(child, "message")) as [{ ports: number[] }];
  const order = async (what: Order): Promise<Seen> => {
    child.send(what);
    const [seen] = (await once(child, "message")) as [Seen];
    return seen;
  };
  return { ports, order, exited: () => exited };
}

it("C16 P11, C16 P12, C16 P21, C16 P22, C16 PT: no descriptors left: 503, not the servers' fault; open connections go on, and it passes", async () => {
  const first = await origin1((request, response) => {
    request.resume();
    response.end("ok");
  });
  const second = await origin2((stream) => {
    stream.resume();
    stream.respond({ ":status": 200, "content-length": 2 });
    stream.end("ok");
  });
  const echo = await listening((socket) => socket.pipe(socket));
  const [one, two] = [
    { discovery: { static: [first] } },
    { discovery: { static: [second.address] }, http2: true },
  ];
  const db = { discovery: { static: [echo.address] } };
  const { ports, order, exited } = await starvedProxy({ one, two, fresh1: one, fresh2: two, db });
  const [port = 0, tcp = 0] = ports;
  const raw = await RawClient.to(port);
  onTestFinished(() => void raw.socket.destroy());
  const session = client2(port);
  const over1 = async (host: string): Promise<string> => {
    raw.send(`POST / HTTP/1.1\r\nhost: ${host}\r\ncontent-length: 1\r\n\r\nx`);
    const { status, body } = await raw.reply();
    return `${status} ${body.trim()}`;
  };
  const over2 = async (authority: string): Promise<string> => {
    const reply = await ask2(session, { ":method": "POST", ":authority": authority }, "x");
    return `${reply.headers[":status"]} ${String(reply.body).trim()}`;
  };
  const asks = [
    ["P11", () => over1("one"), () => over1("fresh1")],
    ["P12", () => over1("two"), () => over1("fresh2")],
    ["P21", () => over2("one"), () => over2("fresh1")],
    ["P22", () => over2("two"), () => over2("fresh2")],
  ] as const;
  const tunnel = new Client(`127.0.0.1:${tcp}`).send("a");
  await tunnel.until(({ text }) => text === "a");
  for (const [surface, open] of asks) expect(await open(), surface).toBe("200 ok");

  await order({ left: 0 });
  const startedAt = performance.now();
  for (const [surface, open, fresh] of asks) {
    // A connection that became too old in between has left a descriptor behind.
    await expect
      .poll(async () => {
        await order({ left: 0 });
        return fresh();
      })
      .toBe("503 local_exhaustion");
    for (let i = 0; i < 3; i++) expect(await fresh()).toBe("503 local_exhaustion");
    expect(await open(), surface).toBe("200 ok");
  }
  tunnel.send("b");
  await tunnel.until(({ text }) => text === "ab");
  const httpMs = performance.now() - startedAt;

  // Room for a client, and none for the connection to its server.
  await order({ left: 1 });
  for (let i = 0; i < 5; i++) {
    const client = new Client(`127.0.0.1:${tcp}`).send("c");
    await client.until(({ closed }) => closed);
    expect(client.text).toBe("");
    await order({ left: 1 });
  }
  const { services } = await order({ left: 0 });
  const tcpMs = performance.now() - startedAt - httpMs;
  for (const [name, forMs] of [
    ["fresh1", httpMs],
    ["fresh2", httpMs],
    ["db", tcpMs],
  ] as const) {
    expect(services[name], name).toMatchObject({ state: "closed", consecutiveFailures: 0 });
    expect(services[name]!.dials).toBeGreaterThan(0);
    // Dialling in a loop would make it no better: once in 100 ms.
    expect(services[name]!.dials, name).toBeLessThanOrEqual(2 + forMs / 100);
  }
  // Clients that come now are closed, or wait; either way nothing else suffers.
  const early = [port, tcp].map((each) => new Client(`127.0.0.1:${each}`));
  for (const [surface, open] of asks) expect(await open(), surface).toBe("200 ok");

  await order({});
  for (const client of early) client.socket.destroy();
  for (const [surface, , fresh] of asks) {
    await expect.poll(fresh, { message: surface }).toBe("200 ok");
  }
  await expect
    .poll(async () => {
      const client = new Client(`127.0.0.1:${tcp}`).send("d");
      await client.until(({ closed, text }) => closed || text === "d");
      client.socket.destroy();
      return client.text;
    })
    .toBe("d");
  tunnel.send("e");
  await tunnel.until(({ text }) => text === "abe");
  expect(exited()).toBe(false);
}, 60_000);
