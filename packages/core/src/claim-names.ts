/** Names of header fields that state the identity of a client. A leaf: the configuration refuses them, servers take them out. */

/** The identity of a client, in the words of meshes and proxies: a client that can connect must not be believed on them. */
const CLAIMS =
  /^(?:x-mesh-|l5d-|x-envoy-|x-forwarded-client-cert$|x-ssl-|x-client-cert|ssl-client-)/;

/** `name` is lower-case. Some backends read `X_Y` as `X-Y`. */
export function isClaim(name: string): boolean {
  return CLAIMS.test(name.includes("_") ? name.replaceAll("_", "-") : name);
}
