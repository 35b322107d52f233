/** A proxy with listeners of a configuration, in this process. */
import { createMesh, type HttpMesh } from "@inmesh/http";
import { onTestFinished } from "vitest";
import { listenProxy, proxySection, type ListeningProxy } from "../../src/index.ts";

/** Ends with the test. */
export async function proxyOf(
  services: Readonly<Record<string, object>>,
  listeners: Readonly<Record<string, object>>,
  more: object = {},
): Promise<{
  readonly mesh: HttpMesh;
  readonly proxy: ListeningProxy;
  portOf(name: string): number;
}> {
  const mesh = createMesh({
    env: {},
    sections: [proxySection],
    config: { services, proxy: { listeners }, ...more } as object,
  });
  const proxy = await listenProxy(mesh);
  onTestFinished(async () => {
    await proxy.close(0);
    await mesh.close(0);
  });
  const portOf = (name: string): number =>
    Number(
      proxy.listeners
        .find((one) => one.name === name)!
        .address.split(":")
        .at(-1),
    );
  return { mesh, proxy, portOf };
}
