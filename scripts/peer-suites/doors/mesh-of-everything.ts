/** A mesh that has a service for every origin that is asked for, as if all of them were configured. */
import { createMesh, type HttpMesh } from "@inmesh/http";
import type { ServiceInput } from "@inmesh/core";

const services: Record<string, ServiceInput> = {};
const origins = new Set<string>();
let mesh: HttpMesh | undefined;

/** Adds the origin if it is a new one. Services are found by their authority, so the name does not matter. */
export function meshFor(origin: string): HttpMesh {
  mesh ??= createMesh({ env: {} });
  if (!/^https?:/.test(origin)) return mesh; // data:, blob: and the like, which are no services
  const { protocol, host } = new URL(origin);
  const url = `${protocol}//${host}`;
  if (!origins.has(url)) {
    origins.add(url);
    // No peer: what is sent to third parties is what these suites compare.
    services[`origin-${origins.size}`] = { url, peer: false };
    mesh.update({ services });
  }
  return mesh;
}
