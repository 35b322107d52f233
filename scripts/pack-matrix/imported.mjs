/** ESM. The class and the default mesh are those that `require` gives. */
import { createRequire } from "node:module";
import { createMesh, defaultMesh, meshClient, MeshError } from "inmesh";

const required = createRequire(import.meta.url)("inmesh");
const mesh = createMesh({ config: {} });
const error = await meshClient("http://127.0.0.1:1", { mesh })
  .fetch("/")
  .catch((caught) => caught);
await mesh.close();
console.log(
  JSON.stringify([
    error instanceof MeshError,
    MeshError === required.MeshError,
    defaultMesh() === required.defaultMesh(),
  ]),
);
