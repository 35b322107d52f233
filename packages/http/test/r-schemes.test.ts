/** One host and port has one scheme: what is meant for TLS is never sent in clear text. */
import { once } from "node:events";
import { request } from "node:http";
import { request as requestTls } from "node:https";
import { ConfigError, createMesh as coreMesh } from "@inmesh/core";
import { MeshError } from "@inmesh/core/spi";
import { createMesh, meshClient, type HttpMesh } from "@inmesh/http";
import { describe, expect, it, onTestFinished } from "vitest";
import { httpMeshOf, Recorded } from "./support/doors.ts";
import { answering, OK, peerOf } from "./wire.ts";

const SECRET = { authorization: "Bearer secret" };

function emptyMesh(): HttpMesh {
  const mesh = createMesh({ env: {} });
  onTestFinished(() => mesh.close(0));
  return mesh;
}

function mistakeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  throw new Error("no error");
}

describe("R16 LC: one host with two schemes, as a client asks for it", () => {
  it("R16 LC: https after http on one mesh is an error, and nothing is sent", async () => {
    const peer = await answering(OK);
    const mesh = emptyMesh();
    const plain = meshClient(`http://${peer.address}`, { mesh });
    expect((await plain.fetch("/")).status).toBe(200);
    for (const options of [{ mesh }, { mesh, timeouts: { request: "1s" } }]) {
      const message = mistakeOf(() => meshClient(`https://${peer.address}`, options));
      expect(message).toContain(`services["${peer.address}"]: is http ("http://${peer.address}")`);
      expect(message).toContain("was asked for as https");
    }
    expect((await plain.fetch("/", { headers: SECRET })).status).toBe(200);
    expect(peer.requests).toHaveLength(2);
  });

  it("R16 LC: http after https is one too, and the same scheme again is none", () => {
    const mesh = emptyMesh();
    meshClient("https://h.example:8443", { mesh });
    expect(mistakeOf(() => meshClient("http://h.example:8443", { mesh }))).toContain("is https");
    expect(meshClient("https://h.example:8443", { mesh }).name).toBe("h.example:8443");
    // Two ports of one host are two servers.
    expect(meshClient("http://h.example", { mesh }).name).toBe("h.example");
    expect(meshClient("https://h.example", { mesh }).name).toBe("h.example:443");
    const other = emptyMesh();
    meshClient("http://h.example", { mesh: other, timeouts: { request: "1s" } });
    expect(meshClient("https://h.example", { mesh: other }).name).toBe("h.example:443");
  });

  it("R16 LC: a service of the configuration is known by name and by authority", () => {
    const mesh = httpMeshOf({
      "h.example:8443": { discovery: { static: ["127.0.0.1:1"] } },
      orders: { discovery: { static: ["127.0.0.1:1"] } },
      bank: { url: "https://bank.example:99" },
    });
    for (const url of ["https://h.example:8443", "https://orders", "http://bank.example:99"]) {
      expect(mistakeOf(() => meshClient(url, { mesh }))).toContain("was asked for as");
    }
    // The mesh may add TLS.
    expect(meshClient("http://bank", { mesh }).name).toBe("bank");
  });

  it("R16 LC: a configuration that contradicts a client is refused, whole", () => {
    for (const input of [{}, { timeouts: { request: "1s" } }]) {
      const mesh = coreMesh({ env: {} });
      onTestFinished(() => mesh.close(0));
      meshClient("https://h.example:8443", { mesh, ...input });
      const before = mesh.config.current;
      for (const service of [
        { url: "http://h.example:8443" },
        { discovery: { static: ["127.0.0.1:1"] } },
      ]) {
        const update = (): unknown => mesh.update({ services: { "h.example:8443": service } });
        expect(mistakeOf(update)).toContain("is http (");
      }
      expect(mesh.config.current).toBe(before);
      mesh.update({ services: { "h.example:8443": { url: "https://h.example:8443" } } });
    }
  });
});

describe("R16 LC: a scheme that changes under a client", () => {
  it("R16 LC: a service that was asked for by a URL of https does not become http", () => {
    const mesh = httpMeshOf({ "h.example:8443": { url: "https://h.example:8443" } });
    meshClient("https://h.example:8443", { mesh });
    const update = (): unknown =>
      mesh.update({ services: { "h.example:8443": { url: "http://h.example:8443" } } });
    expect(mistakeOf(update)).toContain("was asked for as https");
    // By its name it has the scheme that the configuration gives it.
    const other = httpMeshOf({ orders: { url: "https://h.example:8443" } });
    meshClient("orders", { mesh: other });
    other.update({ services: { orders: { url: "http://h.example:8443" } } });
    expect(other.config.current.services["orders"]!.scheme).toBe("http");
  });
});

describe("R16 LC: one host with two schemes, at every other door", () => {
  const services = (port: number) => ({
    orders: { discovery: { static: [`127.0.0.1:${port}`] } },
    bank: { url: `https://127.0.0.1:${port}` },
  });

  it("R16 LC: fetch, dispatcher and agents refuse it, and nothing is sent", async () => {
    const peer = await peerOf(async (connection) => void (await connection.readRequest()));
    const port = Number(peer.address.split(":")[1]);
    const mesh = httpMeshOf(services(port));
    const wanted = { code: "bad_request", reason: "bad_target", progress: "not-sent" };
    for (const origin of [`http://127.0.0.1:${port}`, "https://orders"]) {
      expect(mesh.dispatcher.knows(origin)).toBe(false);
      const recorded = new Recorded(mesh.dispatcher, { origin, headers: SECRET });
      expect(await recorded.over).toBeInstanceOf(MeshError);
      expect(recorded.error).toMatchObject(wanted);
      const failed = await mesh.fetch(`${origin}/`, { headers: SECRET }).catch((e: Error) => e);
      expect(failed).toMatchObject({ cause: wanted });
      const remove = mesh.installGlobal();
      const builtIn = await fetch(`${origin}/`, { headers: SECRET }).catch((e: Error) => e);
      remove();
      expect(builtIn).toMatchObject({ cause: wanted });
      const asked = origin.startsWith("https")
        ? requestTls(`${origin}/`, { agent: mesh.agent("https"), headers: SECRET })
        : request(`${origin}/`, { agent: mesh.agent(), headers: SECRET });
      asked.end();
      const [error] = (await once(asked, "error")) as [Error];
      expect(error).toMatchObject({ cause: wanted });
    }
    expect(peer.connections).toBe(0);
  });
});
