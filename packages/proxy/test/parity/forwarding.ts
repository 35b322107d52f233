/** A program in Node that does what the proxy does: it serves requests, and makes a call of each. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { isMeshError, type Mesh } from "@inmesh/core";
import { meshClient } from "@inmesh/http";
import { gatewayStatus } from "./gateway.ts";

/** Of the connection: who forwards writes them anew (RFC 9110 §7.6.1). */
const OWN: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "host",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "transfer-encoding",
]);

/** The host of a request names its service. */
export function forwarding(
  mesh: Mesh,
): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => void forward(mesh, request, response);
}

async function forward(
  mesh: Mesh,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { headers } = request;
  const named = new Set(headers.connection?.toLowerCase().split(/[ ,]+/));
  const passed: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && !name.startsWith(":") && !OWN.has(name) && !named.has(name))
      passed[name] = value;
  }
  const service = String(headers[":authority"] ?? headers.host);
  try {
    const reply = await meshClient(service, { mesh }).fetch(request.url!, {
      method: request.method!,
      headers: passed as Record<string, string>,
      ...(chunks.length > 0 && { body: Buffer.concat(chunks) }),
    });
    const body = await reply.bytes();
    for (const [name] of reply.headers) {
      if (!OWN.has(name)) response.setHeader(name, [...reply.headers.getAll(name)]);
    }
    response.writeHead(reply.status, { "content-length": body.length });
    response.end(body);
  } catch (error) {
    if (!isMeshError(error)) throw error;
    response.writeHead(gatewayStatus(error.code, error.reason), {
      "content-type": "text/plain; charset=utf-8",
    });
    response.end(`${error.reason}\n`);
  }
}
