/** The proxy before servers that speak TLS, on each pair of versions of HTTP. */
import { through, type Surface, type Through } from "./surfaces.ts";

/** The service's certificate is for `svc`, which is what test authorities issue by default. */
export function secure(
  surface: Surface,
  addresses: readonly string[],
  tls: object,
  more: object = {},
): Promise<Through> {
  return through(surface, addresses, { scheme: "https", authority: "svc", tls, ...more });
}
