/** A program that makes one call and then has nothing more to do: its watch must not keep it alive. */
import { createMesh } from "@inmesh/core";
import { meshClient } from "@inmesh/http";
import { kubernetes } from "../../src/index.ts";

const [kubeconfig = ""] = process.argv.slice(2);
const mesh = createMesh({
  discoveries: [kubernetes({ kubeconfig })],
  config: { services: { orders: { discovery: { kubernetes: "shop/orders:http" } } } },
});
const reply = await meshClient("orders", { mesh }).fetch("/");
process.stdout.write(await reply.text());
