/** vitest with no configuration. */
import { expect, test } from "vitest";
import { createMesh, meshClient, MeshError } from "inmesh";

test("knows an error", async () => {
  const mesh = createMesh({ config: {} });
  const nowhere = meshClient("http://127.0.0.1:1", { mesh });
  await expect(nowhere.fetch("/")).rejects.toBeInstanceOf(MeshError);
  await mesh.close();
});
