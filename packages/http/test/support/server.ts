/** A meshServer and byte-exact clients of it; all end with the test that made them. */
import { meshServer, type MeshServer, type ServerOptions } from "@inmesh/http";
import type { RequestListener } from "node:http";
import { onTestFinished } from "./beside.ts";
import { H2Client } from "./h2-client.ts";
import { RawClient } from "./raw-client.ts";

/** Reads the request and answers `ok`. */
export const answerOk: RequestListener = (request, response) => {
  request.on("error", () => {});
  request.resume().on("end", () => response.end("ok"));
};

export async function start(
  handler: RequestListener = answerOk,
  options: ServerOptions = {},
): Promise<MeshServer> {
  const server = meshServer(handler, options);
  await server.listen(0, "127.0.0.1");
  onTestFinished(() => server.close(0));
  return server;
}

export async function rawTo(server: MeshServer): Promise<RawClient> {
  const client = await RawClient.to(server.address()!.port);
  onTestFinished(() => void client.socket.destroy());
  return client;
}

export function h2To(server: MeshServer): Promise<H2Client> {
  return H2Client.to(server.address()!.port);
}
