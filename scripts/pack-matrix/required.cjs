/** CommonJS. The class and the default mesh are those that `import` gives. */
const { createMesh, defaultMesh, meshClient, MeshError } = require("inmesh");
const spi = require("@inmesh/core/spi");
const grpc = require("@inmesh/grpc");
const k8s = require("@inmesh/discovery-k8s");

async function main() {
  const imported = await import("inmesh");
  const importedSpi = await import("@inmesh/core/spi");
  const importedGrpc = await import("@inmesh/grpc");
  const importedK8s = await import("@inmesh/discovery-k8s");
  const mesh = createMesh({ config: {} });
  const error = await meshClient("http://127.0.0.1:1", { mesh })
    .fetch("/")
    .catch((caught) => caught);
  await mesh.close();
  console.log(
    JSON.stringify([
      error instanceof MeshError,
      MeshError === imported.MeshError,
      defaultMesh() === imported.defaultMesh(),
      spi.ServerCore === importedSpi.ServerCore && typeof spi.ServerCore === "function",
      grpc.meshGrpc === importedGrpc.meshGrpc && typeof grpc.meshGrpc === "function",
      k8s.kubernetes === importedK8s.kubernetes && typeof k8s.kubernetes === "function",
    ]),
  );
}
main();
