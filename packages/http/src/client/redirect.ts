/**
 * Redirects of a client that follows them: `redirects`. Each hop is a call of its own to the same service, with
 * what is left of the caller's time. One that leads to another origin is refused, as by `mesh.fetch`: a server
 * must not choose where this process connects to.
 */
import { MeshError, type ErrorCode, type ErrorReason } from "@inmesh/core/spi";
import { CONTENT_LENGTH, CONTENT_TYPE } from "../headers.ts";
import { isStreamed } from "./body.ts";
import type { FetchInit } from "./call-options.ts";
import type { HttpReply } from "./reply.ts";
import { flatten } from "./request.ts";
import type { StartingService } from "./start.ts";

type Send = (path: string, init: FetchInit) => Promise<HttpReply>;

export async function follow(
  service: StartingService,
  maxHops: number,
  path: string,
  init: FetchInit,
  send: Send,
): Promise<HttpReply> {
  const startedAt = service.runtime.now();
  let target = path;
  let hop = init;
  for (let hops = 0; ; hops++) {
    const reply = await send(target, hop);
    const location = redirectOf(reply);
    if (location === undefined) return reply;
    reply.discard();
    if (hops === maxHops) throw tooMany(service.name, maxHops, reply);
    target = within(service, target, location, reply);
    hop = nextInit(service.name, reply, hop);
    if (init.timeoutMs !== undefined) {
      const leftMs = init.timeoutMs - (service.runtime.now() - startedAt);
      hop = { ...hop, timeoutMs: Math.max(0, leftMs) };
    }
  }
}

function redirectOf({ status, headers }: HttpReply): string | undefined {
  switch (status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
      return headers.get("location");
  }
  return undefined;
}

/** The path that `location` means at this service. Throws a MeshError (`denied`) if it leads elsewhere. */
function within(
  { name, config }: StartingService,
  path: string,
  location: string,
  reply: HttpReply,
): string {
  const { scheme, authority } = config;
  const origin = `${scheme}://${authority}`;
  const base = URL.canParse(origin) ? origin : `${scheme}://service.invalid`;
  const parsed = URL.canParse(location, base + path) ? new URL(location, base + path) : undefined;
  if (parsed !== undefined && parsed.origin === new URL(base).origin) {
    return parsed.pathname + parsed.search;
  }
  const to = parsed === undefined ? "what is no URL" : parsed.origin.slice(0, 200);
  const what = `a redirect leads away from the service, to ${to}: follow it yourself if you trust it, or correct the location that the server sends`;
  throw refusal(reply, "denied", "policy", `${name}: ${what}`);
}

/** RFC 9110 §15.4: after 303, and after 301 and 302 to a POST, the next one is a GET without a body. */
function nextInit(service: string, reply: HttpReply, init: FetchInit): FetchInit {
  const { status } = reply;
  const { json: _json, body = null, query: _query, headers, method = "GET", ...rest } = init;
  const same = status === 307 || status === 308;
  const upper = method.toUpperCase();
  const becomesGet = !same && (status === 303 ? upper !== "HEAD" : upper === "POST");
  if (!becomesGet) {
    if (body !== null && isStreamed(body) && !(body instanceof URLSearchParams)) {
      const what = `a redirect asks for the body again (${status}), and it was a stream: send bytes or a text, or call where the redirect leads`;
      throw refusal(reply, "bad_request", "bad_body", `${service}: ${what}`);
    }
    const { query: _gone, ...again } = init;
    return again;
  }
  const kept: [string, string][] = [];
  const flat = headers === undefined ? [] : flatten(headers);
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i]!;
    if (!OF_BODY.has(name.toLowerCase())) kept.push([name, flat[i + 1]!]);
  }
  return { ...rest, method: "GET", headers: kept };
}

const OF_BODY = new Set([
  CONTENT_TYPE,
  CONTENT_LENGTH,
  "content-encoding",
  "content-language",
  "content-location",
]);

function tooMany(service: string, maxHops: number, reply: HttpReply): MeshError {
  const what = `more than ${maxHops} redirects (the client's option redirects): look for one that leads back to itself, or allow more`;
  return refusal(reply, "loop", "loop", `${service}: ${what}`);
}

/** Of a redirect that is not followed: the call that got it was answered, and says by whom. */
function refusal(
  { mesh: { attempts, endpoint } }: HttpReply,
  code: ErrorCode,
  reason: ErrorReason,
  message: string,
): MeshError {
  const error = new MeshError({ code, reason, message, progress: "maybe-processed" });
  return Object.assign(error, { attempts, endpoint });
}
