/** Server reflection is @grpc/reflection's, beside our half: what tools such as grpcurl ask it. */
import { createRequire } from "node:module";
import { join } from "node:path";
import {
  credentials,
  loadPackageDefinition,
  status as Status,
  type Client,
  type ClientDuplexStream,
  type ServiceClientConstructor,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { ReflectionService } from "@grpc/reflection";
import { describe, expect, it, onTestFinished } from "vitest";
import { ask, serve, type Served } from "./support/served.ts";

interface Reply {
  readonly listServicesResponse?: { readonly service: readonly { readonly name: string }[] };
  readonly fileDescriptorResponse?: { readonly fileDescriptorProto: readonly Buffer[] };
  readonly errorResponse?: { readonly errorCode: number };
}
type Questions = ClientDuplexStream<object, Reply>;

const packageFolder = createRequire(import.meta.url).resolve("@grpc/reflection/package.json");
const orders = loadSync(join(import.meta.dirname, "support/orders.proto"));

/** A server with reflection, and the standard client of one version of it. */
async function reflected(version: string, handlers: Parameters<typeof serve>[0] = {}) {
  const served = await serve(handlers, { discoveryWaitMs: 0 });
  new ReflectionService(orders).addToServer(served.orders.server);
  const path = join(packageFolder, `../build/proto/grpc/reflection/${version}/reflection.proto`);
  const { grpc } = loadPackageDefinition(loadSync(path)) as unknown as {
    grpc: { reflection: Record<string, { ServerReflection: ServiceClientConstructor }> };
  };
  const { ServerReflection } = grpc.reflection[version]!;
  const client = new ServerReflection(
    served.orders.address,
    credentials.createInsecure(),
  ) as unknown as Client & { serverReflectionInfo(): Questions };
  onTestFinished(() => {
    client.close();
    return served.close();
  });
  const stream = client.serverReflectionInfo();
  const ended = new Promise<number>((resolve) => {
    stream.on("error", ({ code }: ServiceError) => resolve(code));
    stream.on("end", () => resolve(Status.OK));
  });
  return { served, stream, ended };
}

/** One question, one answer. */
function asked(stream: Questions, question: object): Promise<Reply> {
  return new Promise((resolve) => {
    stream.once("data", resolve);
    stream.write(question);
  });
}

async function inFlight({ server }: Served, count: number): Promise<void> {
  await expect.poll(() => server.snapshot().callsInFlight).toBe(count);
}

describe("server reflection", () => {
  it.each(["v1", "v1alpha"])("lists and describes the services: %s", async (version) => {
    const { served, stream, ended } = await reflected(version);
    const { listServicesResponse } = await asked(stream, { listServices: "*" });
    expect(listServicesResponse?.service.map(({ name }) => name)).toContain("shop.Orders");
    const { fileDescriptorResponse } = await asked(stream, { fileContainingSymbol: "shop.Orders" });
    const [file] = fileDescriptorResponse!.fileDescriptorProto;
    for (const name of ["Orders", "Get", "Chat", "Order"]) {
      expect(file!.includes(name), name).toBe(true);
    }
    const { errorResponse } = await asked(stream, { fileContainingSymbol: "shop.None" });
    expect(errorResponse?.errorCode).toBe(Status.NOT_FOUND);
    stream.end();
    expect(await ended).toBe(Status.OK);
    await inFlight(served, 0);
    expect(served.server.snapshot().refused).toEqual({});
  });

  it("ends the stream of a tool that waits when the server leaves, and no other call", async () => {
    const pending: (() => void)[] = [];
    const { served, stream, ended } = await reflected("v1", {
      get: (_call, done) => void pending.push(() => done(null, {})),
    });
    await asked(stream, { listServices: "*" });
    const slow = ask(served.client);
    await inFlight(served, 2);
    const drained = served.server.drain();
    expect(await ended).toBe(Status.UNAVAILABLE);
    expect(pending).toHaveLength(1);
    pending[0]!();
    expect((await slow).error).toBeNull();
    await drained; // the grace is as long as the test's own time
  });
});
