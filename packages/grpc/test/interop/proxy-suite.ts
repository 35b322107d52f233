/** gRPC's Go client against gRPC's Go server, with nothing between them, a proxy, and two in a row. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { createMesh } from "@inmesh/core";
import { startProxy } from "../../../proxy/src/index.ts";
import { Suite } from "./outcomes.ts";
import type { Peers } from "./peers.ts";
import { startGoServer } from "./processes.ts";
import { GO_CASES, goCase } from "./server-suite.ts";

interface Between {
  readonly port: number;
  close(): Promise<void>;
}

const WAYS = ["direct", "proxy", "proxy × 2"] as const;

export async function proxySuite(peers: Peers, progress: (line: string) => void): Promise<Suite> {
  const suite = new Suite("proxy", WAYS);
  const server = await startGoServer(peers.grpcServer);
  const inner = await proxyTo(server.port);
  const outer = await proxyTo(inner.port);
  const ports = { direct: server.port, proxy: inner.port, "proxy × 2": outer.port };
  for (const way of WAYS) {
    progress(`the Go client against the Go server, ${way}`);
    for (const name of GO_CASES) {
      suite.column(way).cases.set(name, await goCase(peers, ports[way], name));
    }
  }
  await outer.close();
  await inner.close();
  await server.kill();
  suite.excuseWhatBareFails();
  return suite;
}

async function proxyTo(port: number): Promise<Between> {
  const mesh = createMesh({
    env: {},
    config: { services: { peer: { discovery: { static: [`127.0.0.1:${port}`] } } } },
  });
  const proxy = startProxy({
    mesh,
    listeners: [{ name: "interop", mode: "outbound", service: "peer" }],
  });
  const [listener] = proxy.listeners;
  const server = createServer({ allowHalfOpen: true }, (socket) =>
    listener!.handle(socket, undefined, "http2"),
  );
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.close();
      await proxy.close(0);
      await mesh.close(0);
    },
  };
}
