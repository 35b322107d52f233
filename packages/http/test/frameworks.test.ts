/**
 * The server half under real frameworks: each answers through meshServer, passes on what its caller
 * said, and is restarted twice under load from a keep-alive client without a failed call.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";
import { getRequestListener } from "@hono/node-server";
import connect from "connect";
import express from "express";
import fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import { context } from "@inmesh/core";
import { meshServer, type MeshServer, type ServerOptions } from "@inmesh/http";
import { expect, it, onTestFinished } from "vitest";
import { clientOf, endpointsOf, sleep, until } from "./wire.ts";

const OPTIONS: ServerOptions = { discoveryWaitMs: 20, idleWaitMs: 100 };

/** What every application answers. */
const served = (): { left: boolean } => ({
  left: (context.getStore()?.deadlineAt ?? Infinity) < Infinity,
});

interface Running {
  readonly port: number;
  drain(): Promise<unknown>;
}
/** A server that answers GET and POST of /work with `served()`. */
type Start = (port: number, options: ServerOptions) => Promise<Running>;

async function listen(server: MeshServer, port: number): Promise<Running> {
  onTestFinished(() => server.close(0));
  const address = await server.listen(port, "127.0.0.1");
  return { port: address.port, drain: () => server.drain(5_000) };
}

const APPLICATIONS: Record<string, Start> = {
  "node:http": (port, options) =>
    listen(
      meshServer(
        createServer((request, response) => {
          request.resume();
          request.on("end", () => response.end(JSON.stringify(served())));
        }),
        options,
      ),
      port,
    ),

  express: async (port, options) => {
    const app = express();
    app.all("/work", (_request, response) => void response.json(served()));
    return listen(meshServer(app, options), port);
  },

  koa: async (port, options) => {
    const app = new Koa();
    app.use(async (ctx) => {
      await sleep(1);
      ctx.body = served();
    });
    return listen(meshServer(app.callback(), options), port);
  },

  fastify: async (port, options) => {
    let server: MeshServer | undefined;
    const app = fastify({
      serverFactory: (handler) => {
        server = meshServer(handler, options);
        return server.server as ReturnType<typeof createServer>;
      },
    });
    app.addContentTypeParser("*", (_request, _payload, done) => done(null));
    app.route({ method: ["GET", "POST"], url: "/work", handler: async () => served() });
    await app.ready();
    return listen(server!, port);
  },

  "hono's node server": async (port, options) => {
    const app = new Hono();
    app.all("/work", (c) => c.json(served()));
    return listen(meshServer(getRequestListener(app.fetch), options), port);
  },

  connect: async (port, options) => {
    const app = connect();
    app.use("/work", (_request, response) => void response.end(JSON.stringify(served())));
    return listen(meshServer(app, options), port);
  },

  nest: async (port) => {
    const path = fileURLToPath(new URL("fixtures/nest-server.ts", import.meta.url));
    const child = spawn(
      process.execPath,
      ["--conditions=inmesh-source", "--no-warnings", path, String(port)],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    onTestFinished(() => void child.kill("SIGKILL"));
    const [line] = (await once(child.stdout, "data")) as [Buffer];
    return {
      port: Number(line.toString()),
      drain: async () => {
        child.kill("SIGTERM");
        expect(await once(child, "exit")).toEqual([0, null]);
      },
    };
  },
};

/** Those that take requests over HTTP/2; Express replaces their prototypes by those of HTTP/1. */
const OVER_HTTP2 = ["koa", "fastify", "hono's node server", "connect"];

it.each([
  ...Object.keys(APPLICATIONS).map((name) => [name, "HTTP/1.1"] as const),
  ...OVER_HTTP2.map((name) => [name, "HTTP/2"] as const),
])(
  "L1 LS: %s, %s: the context arrives, and rolling restarts lose no call",
  async (name, version) => {
    const http2 = version === "HTTP/2";
    const start = (port: number): Promise<Running> =>
      APPLICATIONS[name]!(port, { ...OPTIONS, http2 });
    let running = [await start(0), await start(0)];
    const ports = running.map(({ port }) => port);
    const client = clientOf(
      ports.map((port) => `127.0.0.1:${port}`),
      { http2 },
    );

    const load = { stopped: false };
    const statuses = new Map<string, number>();
    const work = async (method: string): Promise<void> => {
      while (!load.stopped) {
        const outcome = await client
          .fetch("/work", { method, ...(method === "POST" && { body: "x" }) })
          .then(async (reply) => {
            const body = await reply.text();
            return reply.status < 300 ? body : `${reply.status} ${body}`;
          })
          .catch((error: Error) => error.message);
        statuses.set(outcome, (statuses.get(outcome) ?? 0) + 1);
        await sleep(2);
      }
    };
    const workers = ["GET", "POST", "GET", "POST"].map(work);
    const worked = async (more: number): Promise<void> => {
      const calls = (): number => [...statuses.values()].reduce((sum, count) => sum + count, 0);
      const wanted = calls() + more;
      await until(() => calls() >= wanted, 20_000);
    };
    for (let i = 0; i < 2; i++) {
      await worked(20);
      await running[i]!.drain();
      await worked(5);
      running = running.with(i, await start(ports[i]!));
      // A dial from before it listened may still be on its way to be refused.
      await worked(20);
      await until(
        () => endpointsOf(client).every(({ breaker }) => breaker.state === "closed"),
        20_000,
      );
    }
    await worked(20);
    load.stopped = true;
    await Promise.all(workers);
    expect([...statuses.keys()]).toEqual(['{"left":true}']);
  },
);
