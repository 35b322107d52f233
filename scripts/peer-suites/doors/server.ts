/** Loaded before a test: every server that listens is served by meshServer. */
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import { syncBuiltinESMExports } from "node:module";
import { meshServer, type NodeServer } from "@inmesh/http";

type Make = (...args: never[]) => NodeServer;

for (const [module, names] of [
  [http, ["createServer"]],
  [https, ["createServer"]],
  [http2, ["createServer", "createSecureServer"]],
] as const) {
  for (const name of names) {
    const functions = module as unknown as Record<string, Make>;
    const make = functions[name]!;
    functions[name] = (...args) => wrapAtListen(make(...args));
  }
}
syncBuiltinESMExports();

/** Only then all its listeners are there. */
function wrapAtListen(server: NodeServer): NodeServer {
  const { listen } = server;
  server.listen = function (this: NodeServer, ...args: never[]) {
    server.listen = listen;
    // Health and drains are no part of what these tests know.
    if (server.listenerCount("request") > 0) meshServer(server, { health: false, posture: "mesh" });
    return (listen as (...all: never[]) => NodeServer).apply(server, args);
  } as typeof server.listen;
  return server;
}
