/** What callers of `meshClient` get wrong: each mistake is one sentence that says what to write, and nothing is sent. */
import { meshClient, type MeshClient } from "@inmesh/http";
import { describe, expect, it } from "vitest";
import { failureOf, meshOf, serve } from "./wire.ts";

async function clientOf(): Promise<{ client: MeshClient; asked: () => number }> {
  let asked = 0;
  const { address } = await serve((_request, response) => {
    asked++;
    response.end();
  });
  const services = { orders: { discovery: { static: [address] } } };
  const mesh = meshOf({ config: { services } });
  return { client: meshClient("orders", { mesh }), asked: () => asked };
}

type Given = readonly [path: unknown, init?: unknown];

const MISTAKES: readonly (readonly [given: Given, reason: string, says: string])[] = [
  [["v1/orders"], "bad_target", 'the path must start with "/", got "v1/order…"'],
  [
    ["http://orders/v1"],
    "bad_target",
    "give the path alone, the client knows where its service is",
  ],
  [[new URL("http://orders/v1")], "bad_target", "got a URL: give url.pathname + url.search"],
  [[{ path: "/v1" }], "bad_target", "request() takes the path among its options"],
  [["/v1#part"], "bad_target", 'a "#" at position 3: a fragment is not sent'],
  [
    ["/a b"],
    "bad_target",
    "the character U+0020 at position 2, which must be written by encodeURIComponent",
  ],
  [["/", null], "bad_option", "the options must be an object, got null"],
  [
    ["/", { timeout: 5 }],
    "bad_option",
    'the option "timeout" is not known; did you mean "timeoutMs"?',
  ],
  [["/", { timeoutMs: "5" }], "bad_option", "timeoutMs must be a number of milliseconds from 0 up"],
  [
    ["/", { timeoutMs: NaN }],
    "bad_option",
    "timeoutMs must be a number of milliseconds from 0 up, got NaN",
  ],
  [
    ["/", { methd: "POST" }],
    "bad_option",
    'the option "methd" is not known; did you mean "method"?',
  ],
  [["/", { retries: 3 }], "bad_option", "meshClient(name, { retry: { attempts } })"],
  [["/", { idempotent: "yes" }], "bad_option", "idempotent must be true or false"],
  [["/", { signal: new AbortController() }], "bad_option", "write controller.signal"],
  [["/", { method: "Patch" }], "bad_target", "the method Patch: PATCH is written in upper case"],
  [["/", { method: "GE T" }], "bad_target", 'the method must be one word such as POST, got "GE T"'],
  [["/", { method: "POST", body: { a: 1 } }], "bad_body", "JSON.stringify it, or use json:"],
  [
    ["/", { method: "POST", body: 5 }],
    "bad_body",
    "the body must be a text, bytes, a form, a stream",
  ],
  [["/", { headers: { "x-a": null } }], "bad_header", 'the header "x-a" must be a text'],
  [
    ["/", { headers: { "x-a": "a\r\nb" } }],
    "bad_header",
    'the header "x-a" holds the character U+000D at position 1',
  ],
  [["/", { headers: { "x a": "1" } }], "bad_header", "a header's name that begins with"],
  [
    ["/", { headers: 5 }],
    "bad_header",
    "headers must be an object, or a list of pairs [name, value]",
  ],
];

describe("LC: mistakes of callers", () => {
  it.each(MISTAKES)("%j: %s, %s", async ([path, init], reason, says) => {
    const { client, asked } = await clientOf();
    const error = await failureOf(client.fetch(path as string, init as never));
    expect(error).toMatchObject({ code: "bad_request", reason, progress: "not-sent" });
    expect(error.message).toContain(says);
    expect(asked()).toBe(0);
  });

  it.each([
    [{ url: "/v1" }, 'the option "url" is not known; did you mean "path"?'],
    [{ uri: "/v1" }, 'the option "uri" is not known; did you mean "path"?'],
    [{ path: "/v1", url: "/v1" }, 'the option "url" is not known; did you mean "path"?'],
    [{ method: "GET" }, 'the path must start with "/", got undefined'],
    ["/v1", "request() takes an object with the path in it"],
  ])("request(%j): %s", async (init, says) => {
    const { client, asked } = await clientOf();
    const error = await failureOf(client.request(init as never));
    expect(error).toMatchObject({ code: "bad_request", progress: "not-sent" });
    expect(error.message).toContain(says);
    expect(asked()).toBe(0);
  });

  it("options that are left out by undefined, and those of fetch that mean nothing here, are none", async () => {
    const { client, asked } = await clientOf();
    const init = { timeout: undefined, timeoutMs: undefined, duplex: "half", method: "post" };
    expect((await client.fetch("/", init as never)).status).toBe(200);
    expect(asked()).toBe(1);
  });
});
