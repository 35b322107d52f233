/**
 * A kind of discovery: endpoints from a registry that is asked over HTTP, in one request for all services. Run
 * with `node --conditions=inmesh-source examples/own-parts/discovery.ts`.
 */
import { SharedDiscovery, type DiscoveryKind, type DiscoveryMesh } from "@inmesh/core/spi";
import { createMesh, meshClient, meshServer } from "inmesh";

/** What the registry answers: a list of endpoints for each name. */
type Registry = Record<string, { host: string; port: number; draining?: boolean }[]>;

/** `url` is asked every `refreshMs`, and at once when a connection fails. */
function registryKind(url: string, refreshMs: number): DiscoveryKind<{ name: string }> {
  // One watch for all services of a mesh: begun with the first, ended with the last.
  const watch = ({ runtime }: DiscoveryMesh): SharedDiscovery =>
    new SharedDiscovery("catalogue", (sink) => {
      let stopped = false;
      let timer = runtime.after(0, ask, undefined);
      function ask(): void {
        timer.cancel();
        timer = runtime.after(refreshMs, ask, undefined);
        fetch(url)
          .then((reply) => reply.text())
          .then((text) => {
            const registry: Registry = JSON.parse(text);
            if (stopped) return;
            for (const [name, endpoints] of Object.entries(registry)) sink.replace(name, endpoints);
          })
          // The last good endpoints stay in use.
          .catch((error: unknown) => stopped || sink.failed(new Error(`${url}: ${error}`)));
      }
      const stop = (): void => {
        stopped = true;
        timer.cancel();
      };
      return { refresh: ask, stop };
    });
  return {
    name: "catalogue",
    fields: [
      { path: "catalogue", type: "object", meaning: "Endpoints from the registry." },
      {
        path: "catalogue.name",
        type: "text",
        required: true,
        meaning: "Name of the service there.",
      },
    ],
    open: ({ name }, mesh) => mesh.shared(watch).of(name),
  };
}

const write = (line: string): boolean => process.stdout.write(`${line}\n`);
const named: Registry = { "orders-v1": [] };
const registry = meshServer((_request, response) => response.end(JSON.stringify(named)));
const { port: registryPort } = await registry.listen(0, "127.0.0.1");
const servers = ["a", "b"].map((name) => meshServer((_request, response) => response.end(name)));
for (const server of servers) {
  const { port } = await server.listen(0, "127.0.0.1");
  named["orders-v1"]?.push({ host: "127.0.0.1", port });
}

const kind = registryKind(`http://127.0.0.1:${registryPort}`, 50);
const mesh = createMesh({
  discoveries: [kind],
  config: { services: { orders: { discovery: { catalogue: { name: "orders-v1" } } } } },
});
const orders = meshClient("orders", { mesh });
const answer = async (): Promise<string> => (await orders.fetch("/")).text();
const answers = async (): Promise<string> =>
  [...new Set(await Promise.all(Array.from({ length: 20 }, answer)))].toSorted().join(" and ");
write(`answered by ${await answers()}`);

const [first] = named["orders-v1"] ?? [];
if (first !== undefined) first.draining = true;
while (!mesh.snapshot().services[0]?.endpoints.some(({ draining }) => draining)) {
  await new Promise((resolve) => setTimeout(resolve, 10));
}
write(`while a is draining, by ${await answers()}`);
await mesh.close();
await Promise.all([registry, ...servers].map((server) => server.close()));
