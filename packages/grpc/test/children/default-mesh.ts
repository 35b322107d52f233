/** Clients of two protocols that name no mesh; `early` or `late`: when HTTP's package is imported. */
import { meshGrpc } from "../../src/index.ts";

process.env["INMESH_SERVICE_ORDERS"] = "http://127.0.0.1:1";
if (process.argv[2] === "early") await import("@inmesh/http");
meshGrpc("orders");
const { defaultMesh, meshClient } = await import("@inmesh/http");
const { mesh } = meshClient("orders");
const asked = ((): string => {
  try {
    return defaultMesh() === mesh ? "the same" : "another";
  } catch (error) {
    return (error as Error).message;
  }
})();
const services = mesh.snapshot().services.map(({ name, protocol }) => `${protocol} ${name}`);
process.stdout.write(JSON.stringify({ asked, services }));
