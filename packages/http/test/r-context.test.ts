/** In which context the events of a request and its reply run: the handler's own, in every version of HTTP. */
import { createServer } from "node:http";
import * as http2 from "node:http2";
import { connect } from "node:net";
import { context } from "@inmesh/core";
import { meshServer } from "@inmesh/http";
import { expect, it, onTestFinished } from "vitest";
import { until } from "./wire.ts";

type Version = "HTTP/1.1" | "HTTP/2";
const EVENTS = ["finish", "close"] as const;

/** Resolves to the events of the reply that ran in the context of its handler, and of those that did not. */
async function contextsOf(
  version: Version,
  given: boolean,
  client: "waits" | "leaves",
): Promise<[inside: string[], outside: string[]]> {
  const inside: string[] = [];
  const outside: string[] = [];
  const handler = (_request: unknown, response: import("node:http").ServerResponse): void => {
    const served = context.getStore();
    const note = (what: string) => (): void => {
      (served !== undefined && context.getStore() === served ? inside : outside).push(what);
    };
    for (const event of EVENTS) response.on(event, note(event));
    if (client === "waits") response.end("ok", note("end's callback"));
    else response.write("o");
  };
  const bare = version === "HTTP/2" ? http2.createServer(handler as never) : createServer(handler);
  const server = meshServer(given ? bare : handler, { http2: version === "HTTP/2" });
  onTestFinished(() => server.close(0));
  const { port } = await server.listen(0, "127.0.0.1");
  if (version === "HTTP/2") {
    const session = http2.connect(`http://127.0.0.1:${port}`);
    onTestFinished(() => session.destroy());
    const stream = session.request({ ":path": "/" });
    stream.on("error", () => {});
    stream.on("response", () => {
      if (client === "leaves") stream.close(8);
      else stream.resume();
    });
  } else {
    const socket = connect(port, "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    socket.on("data", () => {
      if (client === "leaves") socket.destroy();
    });
  }
  await until(() => [...inside, ...outside].includes("close"));
  return [inside.toSorted(), outside.toSorted()];
}

it.each([
  ["HTTP/1.1", false],
  ["HTTP/1.1", true],
  ["HTTP/2", false],
  ["HTTP/2", true],
] as const)(
  "R25 LS: %s, a server that is given (%s): the end of a reply is heard in the handler's context",
  async (version, given) => {
    expect(await contextsOf(version, given, "waits")).toEqual([
      ["close", "end's callback", "finish"],
      [],
    ]);
  },
);

it.each([
  ["own", false],
  ["given", true],
] as const)(
  "R25 LS: HTTP/2, %s server: so is the departure of its caller",
  async (_whose, given) => {
    const [inside, outside] = await contextsOf("HTTP/2", given, "leaves");
    expect(outside).toEqual([]);
    expect(inside).toContain("close");
  },
);
