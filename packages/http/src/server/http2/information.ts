/** What a 103 may say (RFC 8297): links, and other fields beside them. */
// oxlint-disable-next-line no-restricted-imports -- types
import type { OutgoingHttpHeaders } from "node:http2";
import { nodeError } from "./errors.ts";
import { isHeader, keyOf } from "./headers.ts";

/** `<target>; name=value; …`, RFC 8288 §3 as far as nothing else can be smuggled in. */
const LINK = /^<[^<>\r\n]*>(?:\s*;\s*[^;\r\n]+)*$/;

/** Undefined without a link: then there is nothing to hint at. */
export function informationOf(
  hints: Readonly<Record<string, string | string[]>>,
): OutgoingHttpHeaders | undefined {
  if (typeof hints !== "object" || hints === null) {
    throw nodeError("ERR_INVALID_ARG_TYPE", "hints is an object");
  }
  const links = ([] as unknown[]).concat(hints["link"] ?? []);
  for (const link of links) {
    if (typeof link !== "string" || !LINK.test(link)) {
      throw nodeError("ERR_INVALID_ARG_VALUE", `hints.link is no link: ${String(link)}`);
    }
  }
  if (links.length === 0) return undefined;
  const headers: OutgoingHttpHeaders = { link: links.join(", ") };
  for (const name of Object.keys(hints)) {
    const key = keyOf(name);
    if (key !== "link" && isHeader(key, hints[name])) headers[key] = hints[name];
  }
  return headers;
}
