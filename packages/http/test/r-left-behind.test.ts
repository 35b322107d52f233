/** Pipelined requests whose connection ends before their replies had their turn: none stays in progress. */
import { createServer, type RequestListener } from "node:http";
import { describe, expect, it } from "vitest";
import type { MeshServer, ServerOptions } from "@inmesh/http";
import { meshServer } from "@inmesh/http";
import { onTestFinished } from "./support/beside.ts";
import { rawTo, start } from "./support/server.ts";
import { until } from "./wire.ts";

const H = "host: svc\r\n";
const get = (path: string): string => `GET ${path} HTTP/1.1\r\n${H}\r\n`;
const UPGRADE = `GET /ws HTTP/1.1\r\n${H}connection: upgrade\r\nupgrade: test\r\n\r\n`;
const CONNECT = "CONNECT svc:443 HTTP/1.1\r\nhost: svc:443\r\n\r\n";
const BEHIND = 7;
const PIPELINED = get("/stuck") + get("/quick").repeat(BEHIND);

interface Heard {
  begun: number;
  closed: number;
  /** Requests over, for those who listen to the request and not to its reply. */
  ended: number;
}

/** `/stuck` is never answered, all others at once: their replies wait. */
function listener(heard: Heard): RequestListener {
  return (request, response) => {
    heard.begun++;
    response.once("close", () => heard.closed++);
    request.once("close", () => heard.ended++);
    request.on("error", () => {}).resume();
    if (request.url !== "/stuck") response.end(request.url);
  };
}

async function given(heard: Heard, options: ServerOptions): Promise<MeshServer> {
  const app = createServer(listener(heard));
  app.on("upgrade", (_request, socket) => socket.end("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
  const server = meshServer(app, options);
  await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  return server;
}

describe("R42 LS: a connection ends while pipelined replies wait for their turn", () => {
  const kinds = {
    made: (heard: Heard, options: ServerOptions) => start(listener(heard), options),
    given,
  };
  for (const [kind, make] of Object.entries(kinds)) {
    it.each(["reset", "destroyed", "half closed"])(`${kind}: the client has %s it`, async (how) => {
      const heard = { begun: 0, closed: 0, ended: 0 };
      const server = await make(heard, { health: false });
      const client = await rawTo(server);
      client.send(PIPELINED);
      await until(() => heard.begun === 1 + BEHIND);
      if (how === "reset") client.socket.resetAndDestroy();
      else if (how === "destroyed") client.socket.destroy();
      else client.socket.end();
      await until(() => heard.closed === 1 + BEHIND && heard.ended === 1 + BEHIND);
      expect(server.snapshot().requestsInFlight).toBe(0);
      expect(heard).toEqual({ begun: 1 + BEHIND, closed: 1 + BEHIND, ended: 1 + BEHIND });
    });
  }

  it.each([
    ["made", "CONNECT", "method_not_allowed", CONNECT],
    ["given", "CONNECT", "method_not_allowed", CONNECT],
    ["given", "an upgrade", "bad_upgrade", UPGRADE],
  ] as const)(
    "%s: %s behind them ends it, and is no reply to them",
    async (kind, _what, reason, last) => {
      const heard = { begun: 0, closed: 0, ended: 0 };
      const server = await kinds[kind](heard, { health: false });
      const client = await rawTo(server);
      client.send(PIPELINED + last);
      await client.until(() => client.closed, "the end of the connection");
      await until(() => heard.closed === 1 + BEHIND && heard.ended === 1 + BEHIND);
      expect(client.text).toBe("");
      expect(server.snapshot()).toMatchObject({ requestsInFlight: 0, refused: { [reason]: 1 } });
      expect(heard).toEqual({ begun: 1 + BEHIND, closed: 1 + BEHIND, ended: 1 + BEHIND });
    },
  );

  it("a limit is free again for all others", async () => {
    const heard = { begun: 0, closed: 0, ended: 0 };
    const server = await start(listener(heard), { limits: { maxInFlight: 4 }, health: false });
    for (let round = 1; round <= 3; round++) {
      const client = await rawTo(server);
      client.send(get("/stuck") + get("/quick").repeat(3));
      await until(() => heard.begun === 4 * round);
      client.socket.resetAndDestroy();
      await until(() => heard.closed === 4 * round);
    }
    const client = await rawTo(server);
    client.send(get("/quick"));
    await client.until(() => client.text.includes("/quick"), "the reply");
    expect(server.snapshot().refused).toEqual({});
  });
});
