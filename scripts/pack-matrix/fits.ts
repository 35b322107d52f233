/** Places of other libraries that take what inmesh gives, without a cast. Checked, and never called. */
import { createServer } from "node:http";
import { fastify } from "fastify";
import { createMesh, meshServer, type MeshServer } from "inmesh";

const mesh = createMesh({ config: {} });
/** SDKs ask for it under this type. */
export const fetchOfSdk: { fetch: typeof globalThis.fetch } = { fetch: mesh.fetch };

export let served: MeshServer | undefined;
export const given = fastify({
  serverFactory: (handler) => {
    const made = meshServer(createServer(handler), { discoveryWaitMs: 0 });
    served = made;
    return made.server;
  },
});
export const made = fastify({ serverFactory: (handler) => meshServer(handler).server });
