/** A mesh that has a service for every origin that is asked for, as if all of them were configured. */
import { createMesh, type HttpMesh } from "@inmesh/http";
import type { ServiceInput } from "@inmesh/core";

const services: Record<string, ServiceInput> = {};
const origins = new Set<string>();
// Before the test, whose clock would count what a first service loads.
const mesh: HttpMesh = createMesh({ env: {} });
mesh.update({ services: { "origin-0": { url: "http://127.0.0.1:1", peer: false } } });

/** Adds the origin if it is a new one. Services are found by their authority, so the name does not matter. */
export function meshFor(origin: string): HttpMesh {
  if (!/^https?:/.test(origin)) return mesh; // data:, blob: and the like, which are no services
  const { protocol, host, port } = new URL(origin);
  if (port === "0") return mesh; // a configuration refuses it
  const url = `${protocol}//${host}`;
  if (!origins.has(url)) {
    origins.add(url);
    // No peer: what is sent to third parties is what these suites compare.
    services[`origin-${origins.size}`] = { url, peer: false };
    mesh.update({ services });
  }
  return mesh;
}
