/** `via` (RFC 9110 §7.6.3): what others said there stays, and the proxy adds itself where it is given a name. */
import { describe, expect, it } from "vitest";
import { ask2, client2, origin1, origin2 } from "./support/http2.ts";
import { proxyOf } from "./support/ports.ts";
import { through, upOf, SURFACES } from "./support/surfaces.ts";

describe.each(SURFACES)("via, %s", (surface) => {
  /** Says what it got, and has been through another proxy itself. */
  const server = async (): Promise<string> => {
    if (upOf(surface) === 1) {
      return await origin1((request, response) => {
        response.setHeader("via", "1.1 behind");
        response.end(request.headers.via ?? "none");
      });
    }
    const { address } = await origin2((stream, headers) => {
      stream.respond({ ":status": 200, via: "1.1 behind" });
      stream.end(headers["via"] ?? "none");
    });
    return address;
  };
  const up = upOf(surface) === 1 ? "1.1" : "2";
  const down = surface[1] === "1" ? "1.1" : "2";

  it("is left alone without a name", async () => {
    const { ask } = await through(surface, [await server()]);
    expect(await ask()).toMatchObject({ body: "none", headers: { via: "1.1 behind" } });
    expect((await ask("GET", { via: "1.0 before" })).body).toBe("1.0 before");
  });

  it("has the name of the listener at its end, with the version that a message came in", async () => {
    const { ask } = await through(surface, [await server()], {}, { listener: { via: "edge" } });
    const seen = await ask("GET", { via: "1.0 before" });
    expect(seen.body).toBe(`1.0 before, ${down} edge`);
    expect(seen.headers.via).toBe(`1.1 behind, ${up} edge`);
    // What it makes up itself has come through no one.
    const own = await ask("TRACE");
    expect([own.status, own.headers.via]).toEqual([405, undefined]);
  });
});

it("comes from the configuration, and changes with it", async () => {
  const { address } = await origin2((stream, headers) => {
    stream.respond({ ":status": 200 });
    stream.end(headers["via"] ?? "none");
  });
  const services = { orders: { http2: true, discovery: { static: [address] } } };
  const listener = { listen: "127.0.0.1:0", via: "one" };
  const { mesh, portOf } = await proxyOf(services, { out: listener });
  const ask = async (): Promise<string> => String((await ask2(client2(portOf("out")))).body);
  expect(await ask()).toBe("2 one");
  mesh.update({ services, proxy: { listeners: { out: { ...listener, via: "two" } } } } as object);
  await expect.poll(ask).toBe("2 two");
  await expect(proxyOf(services, { out: { ...listener, via: "a b:1" } })).rejects.toThrow(
    /proxy\.listeners\.out\.via: must be 1 to 64 letters/,
  );
});
