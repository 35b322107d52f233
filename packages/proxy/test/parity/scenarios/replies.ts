/** Replies of servers, whole and broken, as they come to the caller. */
import type { Scenario } from "../scenario.ts";
import type { Arrived } from "../upstream.ts";

const echo = (request: Arrived): void =>
  request.reply(200, request.body, { "x-method": request.method, "x-path": request.path });

export const REPLIES: readonly Scenario[] = [
  {
    id: "replies: methods, paths, queries and bodies arrive as they are",
    kind: "outbound",
    run: async (bench) => {
      await bench.start({ services: { orders: bench.service([await bench.upstream("a", echo)]) } });
      await bench.ask({ path: "/a%2Fb;c?d=e&d=f&g" });
      await bench.ask({ method: "POST", path: "/", body: "a body" });
      await bench.ask({ method: "DELETE", path: "/x" });
      await bench.ask({ method: "OPTIONS", path: "/x" });
      await bench.ask({ method: "PATCH", path: "/x", body: "" });
      await bench.ask({ method: "PURGE", path: "/x" });
    },
  },
  {
    id: "replies: statuses, heads and bodies arrive as they are",
    kind: "outbound",
    run: async (bench) => {
      const statuses = [200, 201, 203, 301, 400, 404, 409, 451, 499, 501, 505, 599];
      const server = await bench.upstream("a", (request) =>
        request.reply(statuses[request.number - 1], `body ${request.number}`, {
          "x-empty": "",
          "x-two": ["1", "2"],
          "set-cookie": ["a=1; Path=/", "b=2"],
          "cache-control": "no-store",
          etag: '"x"',
        }),
      );
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.askTimes(statuses.length);
    },
  },
  {
    id: "replies: none has a body to HEAD, with 204 and with 304",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", (request) => {
        if (request.path === "/204") request.reply(204);
        else if (request.path === "/304") request.reply(304, "", { "content-length": "7" });
        else
          request.reply(200, request.method === "HEAD" ? "" : "hello", { "content-length": "5" });
      });
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.ask({ method: "HEAD", path: "/head" });
      await bench.ask({ path: "/204" });
      await bench.ask({ path: "/304" });
      await bench.ask({ path: "/head" });
    },
  },
  {
    id: "replies: trailers behind a body",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", (request) =>
        request.reply(200, "body", { trailer: "x-sum" }, { "x-sum": "4", "x-other": "1" }),
      );
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.ask();
    },
  },
  {
    id: "replies: a body that comes in pieces",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", (request) => {
        request.begin("one ");
        setTimeout(() => request.more("two "), 20);
        setTimeout(() => request.end(), 40);
      });
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.ask();
    },
  },
  {
    id: "replies: large bodies in both directions",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", echo);
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.ask({ method: "POST", body: "0123456789abcdef".repeat(65_536) });
    },
  },
  {
    id: "replies: connections are kept, and used again",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", echo);
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.askTimes(5, { method: "POST", body: "x" });
      bench.note("connections", server.connections);
    },
  },
  {
    id: "replies: a server that ends its connection with the reply",
    kind: "outbound",
    up: [1],
    run: async (bench) => {
      const server = await bench.upstream("a", (request) =>
        request.reply(200, "bye", { connection: "close" }),
      );
      await bench.start({ services: { orders: bench.service([server]) } });
      await bench.askTimes(3);
      bench.note("connections", server.connections);
    },
  },
  {
    id: "replies: the reason of a refusal by a server of the mesh is not shown as the caller's own",
    kind: "outbound",
    run: async (bench) => {
      const server = await bench.upstream("a", (request) =>
        request.reply(503, "concurrency\n", {
          "x-mesh-error": "concurrency",
          "x-mesh-other": "1",
        }),
      );
      await bench.start({
        services: { orders: bench.service([server], { retry: { attempts: 1 } }) },
      });
      await bench.ask();
    },
  },
];
