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

/**
 * For tests: makes it the default mesh until the function that is returned is called. Clients that exist
 * already keep the mesh they were made with.
 */
export function useAsDefaultMesh(mesh: Mesh): () => void {
  const before = shared;
  shared = mesh;
  return () => {
    if (shared === mesh) shared = before;
  };
}
