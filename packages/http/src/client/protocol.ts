/** HTTP as a protocol of the mesh: what every way in hands to `mesh.service`. */
import { TlsFiles, type Protocol } from "@inmesh/core/spi";
import { HttpConnection } from "./connection.ts";
import type { HttpResult } from "./lease.ts";
import type { HttpRequest } from "./request.ts";

export const HTTP: Protocol<HttpRequest, HttpResult> = {
  name: "http",
  transport: (service, runtime) => {
    const tls = service.scheme === "https" ? new TlsFiles(service, runtime) : undefined;
    return {
      connect: (endpoint) => new HttpConnection(endpoint, service, runtime, tls),
      get problem() {
        return tls?.problem;
      },
    };
  },
};
