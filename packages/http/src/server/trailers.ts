/**
 * What may stand behind a body. A field that is refused in a head cannot come back in a trailer, and
 * framing, routing and credentials are not to be believed there (RFC 9110 §6.5.1).
 */
import { isAllowedTrailer } from "../headers.ts";
import { defineDistinct } from "./distinct.ts";
import type { Inbound } from "./inbound.ts";
import type { ServerLimits } from "./limits.ts";

/** Filters the trailers before any listener of the handler sees them. */
export function filterTrailers(
  inbound: Inbound,
  limits: ServerLimits,
  refusesUnderscores: boolean,
): void {
  const { request, http2 } = inbound;
  request.on("end", () => {
    const raw = request.rawTrailers;
    if (raw.length === 0) return;
    let bytes = 0;
    for (const text of raw) bytes += text.length;
    const tooMuch = raw.length > 2 * limits.maxTrailerCount || bytes > limits.maxTrailerBytes;
    // Built by Node from the raw ones, once: so before anything is taken out of those.
    const { trailers } = request;
    let kept = 0;
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i]!.toLowerCase();
      if (tooMuch || !isAllowedTrailer(name) || (refusesUnderscores && name.includes("_"))) {
        delete trailers[name];
        continue;
      }
      raw[kept] = raw[i]!;
      raw[kept + 1] = raw[i + 1]!;
      kept += 2;
    }
    if (kept < raw.length) inbound.owner.countGlitch(inbound, "trailers");
    raw.length = kept;
    if (!http2) defineDistinct(request, "trailersDistinct");
  });
}
