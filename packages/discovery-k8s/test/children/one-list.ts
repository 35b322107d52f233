/** Prints the first endpoints that it hears of, or the first error, and has nothing else to do then. */
import type { DiscoveryMesh, DiscoveryOfService } from "@inmesh/core/spi/discovery";
import { AheadRuntime } from "@inmesh/core/testing";
import { kubernetes } from "../../src/index.ts";

const [kubeconfig = ""] = process.argv.slice(2);
const made = new Map<unknown, unknown>();
const mesh = {
  runtime: new AheadRuntime(),
  log() {},
  place: { zone: undefined, found() {} },
  shared(make: (mesh: DiscoveryMesh) => unknown) {
    if (!made.has(make)) made.set(make, make(mesh as unknown as DiscoveryMesh));
    return made.get(make);
  },
};
// For as long as it waits for the answer.
const hold = setTimeout(() => {}, 20_000);
kubernetes({ kubeconfig })
  .open(
    { namespace: "shop", service: "orders", port: "http" },
    mesh as unknown as DiscoveryOfService,
  )
  .watch({
    replace(endpoints) {
      console.log(endpoints.map(({ host, port }) => `${host}:${port}`).join(" "));
      // The watch is open for a while before nothing else is left.
      setTimeout(() => clearTimeout(hold), 300);
    },
    change() {},
    failed(error) {
      console.log(error.message);
      clearTimeout(hold);
    },
  });
