/**
 * The corpus of desynchronisation before servers of others: what each of them logs as a request is one that the proxy has
 * recorded. Behind each payload comes a request of which both must know, on a connection of its own, so a line that
 * nothing belongs to cannot hide behind the next payload.
 */
import { describe, expect, it } from "vitest";
import { CORPUS } from "./support/desync-corpus.ts";
import { LOGGED_SERVERS, loggedServer, programOf } from "./support/logged-servers.ts";
import { exchangeRaw, proxied, repliesIn } from "./support/proxied.ts";

/** Nothing more comes of what got fewer replies than the corpus says: the server has broken off. */
const QUIET_MS = 1_000;

describe("the desync corpus, before servers of others", () => {
  const missing = LOGGED_SERVERS.filter((kind) => programOf(kind) === undefined);
  if (missing.length > 0) {
    console.log(`desync: ${missing.join(", ")} not installed: nothing is replayed before them`);
  }

  it
    .skipIf(missing.length === LOGGED_SERVERS.length)
    .each(LOGGED_SERVERS.filter((kind) => programOf(kind) !== undefined))(
    "%s: no payload is two requests there, or another one than the proxy has recorded",
    async (kind) => {
      const server = await loggedServer(kind);
      const { mesh, port } = await proxied({
        orders: {
          discovery: { static: [`127.0.0.1:${server.port}`] },
          retry: { attempts: 1 },
        },
      });
      /** What the proxy has recorded and the server has not logged: it may have refused it, or not have ended it yet. */
      const open: string[] = [];
      mesh.observe({
        callStarted: ({ method, path, query }) =>
          void open.push(`${method} ${path}${query === "" ? "" : `?${query}`}`),
      });
      let read = 0;
      let logged = 0;
      const through: { readonly id: string; readonly line: string }[] = [];
      for (const [n, { id, bytes, statuses }] of CORPUS.entries()) {
        await exchangeRaw(port, bytes, {
          quietMs: QUIET_MS,
          until: (all) => repliesIn(all).length >= statuses.length,
        });
        const marker = `GET /between-${n}`;
        const { text } = await exchangeRaw(port, `${marker} HTTP/1.1\r\nHost: orders\r\n\r\n`, {
          until: (all) => repliesIn(all).length >= 1,
        });
        expect(repliesIn(text)[0]?.status, `behind ${id}`).toBe(200);
        await expect.poll(() => server.lines().includes(marker), { interval: 2 }).toBe(true);
        const lines = server.lines();
        for (const line of lines.slice(read)) {
          // What it refused as none is not understood as another one, but has to be something that the proxy sent.
          const at = line === "-" ? open.findIndex((one) => one !== marker) : open.indexOf(line);
          if (at < 0) through.push({ id, line });
          else open.splice(at, 1);
          if (line !== marker) logged++;
        }
        read = lines.length;
      }
      console.log(
        `proxy.desync.${kind}: ${CORPUS.length} payloads, ${logged} requests reached it, ${through.length} through`,
      );
      expect(through).toEqual([]);
      // It has seen what the corpus says that servers see, so the comparison was one.
      expect(logged).toBeGreaterThan(25);
    },
    60_000,
  );
});
