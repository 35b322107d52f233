/**
 * C16: a proxy whose process may have few descriptors; says its ports, and takes as many of them as it is asked to.
 * Its services come as JSON: those of HTTP are asked by their names, `db` is that of the TCP listener.
 */
import { closeSync, openSync } from "node:fs";
import { createMesh } from "@inmesh/core";
import { readSeries } from "../../../http/test/support/series.ts";
import { listenProxy, proxySection } from "../../src/index.ts";

const listen = "127.0.0.1:0";
const mesh = createMesh({
  env: {},
  sections: [proxySection],
  config: {
    services: JSON.parse(process.argv[2]!) as object,
    proxy: { listeners: { http: { listen }, db: { listen, service: "db", protocol: "tcp" } } },
  } as object,
});
const proxy = await listenProxy(mesh);

const taken: number[] = [];
function take(left: number): void {
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch {
    for (let i = 0; i < left; i++) closeSync(taken.pop()!);
  }
}

/** `left`: so many descriptors are left from now on; undefined: as many as before. */
export interface Order {
  readonly left?: number;
}

process.on("message", ({ left }: Order) => {
  if (left !== undefined) take(left);
  else for (const one of taken.splice(0)) closeSync(one);
  process.send!({
    services: Object.fromEntries(
      mesh.snapshot().services.flatMap(({ name, endpoints }) =>
        endpoints.map(({ inFlight, breaker }) => [
          name,
          {
            ...breaker,
            inFlight,
            dials: readSeries(mesh, "inmesh.connection.opened", {
              service: name,
              reason: "local_exhaustion",
            }),
          },
        ]),
      ),
    ),
  });
});
process.on("disconnect", () => process.exit());
process.send!({ ports: proxy.listeners.map(({ address }) => Number(address.split(":").at(-1))) });
