/** A proxy that opens the listeners of its configuration, in the process of the test. */
import { createMesh, type HttpMesh } from "@inmesh/http";
import { onTestFinished } from "vitest";
import { listenProxy, proxySection, type ListeningProxy } from "../../src/index.ts";
import { portOf } from "./port-of.ts";

/** Ends with the test. `more`: of the configuration. */
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
  return { mesh, proxy, portOf: (name) => portOf(proxy, name) };
}
