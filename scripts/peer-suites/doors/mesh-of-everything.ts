/** A mesh that has a service for every origin that is asked for, as if all of them were configured. */
import { createMesh, type HttpMesh } from "@inmesh/http";
import type { ServiceInput } from "@inmesh/core";

const services: Record<string, ServiceInput> = {};
let mesh: HttpMesh | undefined;

/** Adds the origin if it is a new one. */
export function meshFor(origin: string): HttpMesh {
  mesh ??= createMesh({ env: {} });
  const { protocol, host } = new URL(origin);
  const name = `${protocol}//${host}`;
  if (/^https?:$/.test(protocol) && !Object.hasOwn(services, name)) {
    services[name] = { url: `${protocol}//${host}` };
    mesh.update({ services });
  }
  return mesh;
}
