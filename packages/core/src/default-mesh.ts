/**
 * The mesh of clients that name none: one for all protocols, so that budgets, discovery and
 * configuration are the same. A process with two versions of core has two, as it has two of everything.
 */
import { Mesh } from "./mesh.ts";

let shared: Mesh | undefined;
let make = (): Mesh => new Mesh();

/** Made when first asked for, configured by environment and file. Throws ConfigError as `createMesh`. */
export function defaultMesh(): Mesh {
  return (shared ??= make());
}

/** For a package whose meshes can do more: from now on the default one is made by it, unless it exists. */
export function makeDefaultMeshBy(maker: () => Mesh): void {
  make = maker;
}
