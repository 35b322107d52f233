/** The API of a process that calls and serves gRPC and HTTP by one mesh. */
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { meshChannel, meshGrpcServer } from "@inmesh/grpc";
import { Client, credentials, status, type ServiceDefinition } from "@grpc/grpc-js";
import { Ajv2020 } from "ajv/dist/2020.js";
import { createMesh, meshClient } from "@inmesh/http";
import type { Connections, Endpoints, Explanation, Services } from "@inmesh/core/inspect";
import { expect, it, onTestFinished } from "vitest";

const SCHEMA = new URL("../../../docs/reference/admin-api.schema.json", import.meta.url);
const ajv = new Ajv2020({ allErrors: true, strict: true });
const validate = ajv.compile(JSON.parse(readFileSync(SCHEMA, "utf8")) as object);

const bytes = (value: Buffer): Buffer => value;
const ECHO: ServiceDefinition = {
  Say: {
    path: "/test.Echo/Say",
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  },
};

it("has the calls of both, by protocol", async () => {
  const upstream = createServer((_request: IncomingMessage, response) => void response.end("ok"));
  upstream.listen(0, "127.0.0.1");
  await once(upstream, "listening");
  onTestFinished(() => {
    upstream.closeAllConnections();
    upstream.close();
  });
  const mesh = createMesh({ env: {} });
  onTestFinished(() => mesh.close(0));
  const server = meshGrpcServer({ mesh, name: "echo" });
  onTestFinished(() => server.close(0));
  server.server.addService(ECHO, {
    Say(call: { request: Buffer }, done: (error: object | null, reply?: Buffer) => void) {
      if (call.request.length === 0) done({ code: status.UNAVAILABLE });
      else done(null, call.request);
    },
  });
  const port = await server.listen("127.0.0.1:0");
  mesh.update({
    services: {
      echo: { discovery: { static: [`127.0.0.1:${port}`] }, retry: { attempts: 1 } },
      web: { discovery: { static: [`127.0.0.1:${(upstream.address() as AddressInfo).port}`] } },
    },
  });

  const client = new Client("echo", credentials.createInsecure(), {
    channelOverride: meshChannel("echo", { mesh }),
  });
  onTestFinished(() => client.close());
  const say = (message: Buffer) =>
    new Promise<Buffer | undefined>((resolve) => {
      client.makeUnaryRequest("/test.Echo/Say", bytes, bytes, message, (_error, reply) =>
        resolve(reply),
      );
    });
  expect(await say(Buffer.from("hello"))).toEqual(Buffer.from("hello"));
  await say(Buffer.alloc(0));
  await (await meshClient("web", { mesh }).fetch("/")).text();

  const admin = await mesh.admin.listen();
  const ask = async (path: string, body?: object): Promise<unknown> => {
    const headers = { authorization: `Bearer ${admin.token}`, "content-type": "application/json" };
    const init =
      body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
    const reply = await fetch(`${admin.address}/api/v1/${path}`, init);
    const json: unknown = await reply.json();
    expect(validate(json), JSON.stringify(validate.errors)).toBe(true);
    return json;
  };
  const { services, servers } = (await ask("services")) as Services;
  expect(services).toMatchObject([
    {
      name: "echo",
      protocol: "grpc",
      state: "connected",
      connections: { open: 1 },
      traffic: { calls: { total: 2, success: 1, failure: 1 } },
    },
    {
      name: "web",
      protocol: "http",
      state: "connected",
      traffic: { calls: { total: 1, success: 1 } },
    },
  ]);
  expect(servers).toMatchObject([
    {
      name: "echo",
      protocol: "grpc",
      state: "open",
      readiness: "ok",
      connections: 1,
      calls: { total: 2, success: 1 },
    },
  ]);
  const { endpoints } = (await ask("endpoints?service=echo")) as Endpoints;
  expect(endpoints).toMatchObject([
    { protocol: "grpc", address: `127.0.0.1:${port}`, picks: 2, share: 1, connections: 1 },
  ]);
  const { outbound, inbound } = (await ask("connections")) as Connections;
  expect(outbound.find(({ service }) => service === "echo")).toMatchObject({
    application: "h2",
    open: 1,
    queued: 0,
  });
  expect(inbound).toEqual([{ server: "echo", protocol: "grpc", open: 1, sessions: 1 }]);
  const explained = (await ask("explain", {
    service: "echo",
    path: "/test.Echo/Say",
  })) as Explanation;
  expect(explained).toMatchObject({
    protocol: "grpc",
    method: "POST",
    route: { name: "default", idempotent: false },
  });
  expect(explained.candidates).toMatchObject([{ chance: 1, state: "available" }]);
  for (const path of ["about", "discovery", "config?all=true", "checks", "dump"]) await ask(path);
  await server.drain(100);
  expect((await fetch(`${admin.address}/readyz`)).status).toBe(503);
});

it("is not ready before its gRPC servers listen, and while what the application says stands against it", async () => {
  const mesh = createMesh({ env: {} });
  onTestFinished(() => mesh.close(0));
  let isReady = false;
  const server = meshGrpcServer({ mesh, name: "echo", health: { isReady: () => isReady } });
  onTestFinished(() => server.close(0));
  const admin = await mesh.admin.listen();
  const readiness = async (): Promise<[number, string]> => {
    const reply = await fetch(`${admin.address}/readyz`);
    return [reply.status, (await reply.text()).trim()];
  };
  expect(await readiness()).toEqual([503, "not listening"]);
  await server.listen("127.0.0.1:0");
  expect(await readiness()).toEqual([503, "not ready"]);
  isReady = true;
  expect(await readiness()).toEqual([200, "ok"]);
});
