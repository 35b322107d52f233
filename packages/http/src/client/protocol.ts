/** HTTP as a protocol of the mesh: what every way in hands to `mesh.service`. */
import { transportWithTls, type Protocol } from "@inmesh/core/spi";
import { HttpConnection } from "./connection.ts";
import type { HttpResult } from "./lease.ts";
import { tracedByOthers, type HttpRequest } from "./request.ts";
import { clientDuration } from "./standard.ts";

export const HTTP: Protocol<HttpRequest, HttpResult> = {
  name: "http",
  tracedByOthers,
  standard: { attempts: clientDuration },
  transport: (service, runtime, identities, record) =>
    transportWithTls(
      service,
      runtime,
      identities,
      (endpoint, tls) => new HttpConnection(endpoint, service, runtime, tls, record),
    ),
};
