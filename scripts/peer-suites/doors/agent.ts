/** Loaded before a test: the global agents of node:http and node:https are the mesh's. */
import http from "node:http";
import https from "node:https";
import { syncBuiltinESMExports } from "node:module";
import { meshFor } from "./mesh-of-everything.ts";

interface WithRequests {
  addRequest(request: http.ClientRequest, options: http.RequestOptions): void;
}

for (const [module, scheme] of [
  [http, "http"],
  [https, "https"],
] as const) {
  const agent = module.globalAgent as unknown as WithRequests & { defaultPort: number };
  const before = agent.addRequest;
  agent.addRequest = function (request, options) {
    // A mesh's agent gives these on to the global one, which this is.
    if (options.socketPath !== undefined && options.socketPath !== null) {
      before.call(this, request, options);
      return;
    }
    const host = options.host ?? options.hostname ?? "localhost";
    const named = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
    const mesh = meshFor(`${scheme}://${named}:${String(options.port ?? agent.defaultPort)}`);
    const ours = scheme === "http" ? mesh.agent() : mesh.agent("https");
    (ours as unknown as WithRequests).addRequest(request, options);
  };
}
syncBuiltinESMExports();
