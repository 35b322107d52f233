/** The tail benchmark over HTTP: GETs, and 500 from a server that fails. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createMesh } from "@inmesh/core";
import { meshClient } from "@inmesh/http";
import { Pool } from "undici";
import type { Answer, TailClient, TailLoad, TailServer } from "./tail-protocol.ts";

export function open(load: TailLoad): TailClient {
  if (load.client === "proxy") return proxied(load.proxy!.port, load.proxy!.service);
  return load.client === "inmesh" ? meshed(load) : roundRobin(load);
}

function check(status: number, text: string): void {
  if (status !== 200 || text !== "ok") throw new Error(`status ${status}, ${text.length} bytes`);
}

function meshed({ ports, attempts }: TailLoad): TailClient {
  const endpoints = ports.map((port) => `127.0.0.1:${port}`);
  const service = { discovery: { static: endpoints }, retry: { attempts } };
  const mesh = createMesh({ env: {}, config: { services: { orders: service } } });
  const client = meshClient("orders", { mesh });
  return {
    async call() {
      const reply = await client.fetch("/orders/1");
      check(reply.status, await reply.text());
    },
    close: () => mesh.close(0),
  };
}

function roundRobin({ ports }: TailLoad): TailClient {
  const pools = ports.map((port) => new Pool(`http://127.0.0.1:${port}`));
  let turn = 0;
  return {
    async call() {
      const pool = pools[turn++ % pools.length]!;
      const { statusCode, body } = await pool.request({ path: "/orders/1", method: "GET" });
      check(statusCode, await body.text());
    },
    close: async () => void (await Promise.all(pools.map((pool) => pool.destroy()))),
  };
}

function proxied(port: number, service: string): TailClient {
  const pool = new Pool(`http://127.0.0.1:${port}`);
  return {
    async call() {
      const headers = { host: service };
      const { statusCode, body } = await pool.request({
        path: "/orders/1",
        method: "GET",
        headers,
      });
      check(statusCode, await body.text());
    },
    close: () => pool.destroy(),
  };
}

export async function serve(answer: Answer): Promise<TailServer> {
  const server = createServer((request, response) => {
    request.resume();
    answer((failed) => {
      if (failed) response.statusCode = 500;
      response.end(failed ? "failed" : "ok");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { port, close: () => new Promise((resolve) => server.close(() => resolve())) };
}
