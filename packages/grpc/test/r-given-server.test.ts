/**
 * R4: a given server without the list of its interceptors, which is where our own would go: it goes in
 * with the credentials of an address, and where that would leave calls out, the start fails.
 */
import {
  credentials,
  experimental,
  Server,
  ServerCredentials,
  status as Status,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import { expect, it, onTestFinished } from "vitest";
import { TestCa } from "../../http/test/support/ca.ts";
import { interceptByCredentials, redirectEarlier } from "../src/server/given-server.ts";
import { Orders, OrdersServer } from "./support/orders.ts";
import { ask, bareClient } from "./support/served.ts";

const noted =
  (notes: string[], name: string): ServerInterceptor =>
  (_method, call) => {
    notes.push(name);
    return call as never;
  };

it("R4 GS: ours goes before the application's own, and services that are there already are served", async () => {
  const notes: string[] = [];
  const orders = new OrdersServer("a", {}, new Server({ interceptors: [noted(notes, "own")] }));
  interceptByCredentials(orders.server, noted(notes, "ours"));
  await orders.listen();
  onTestFinished(() => orders.stop());
  const client = bareClient(orders.address);
  onTestFinished(() => client.close());
  expect((await ask(client)).error).toBeNull();
  expect(notes).toEqual(["ours", "own"]);
});

it("R4 GS: what it refuses does not reach a handler", async () => {
  const orders = new OrdersServer("a");
  interceptByCredentials(orders.server, (_method, call) => {
    call.sendStatus({ code: Status.UNAVAILABLE, details: "not now" });
    return call as never;
  });
  await orders.listen();
  onTestFinished(() => orders.stop());
  const client = bareClient(orders.address);
  onTestFinished(() => client.close());
  expect((await ask(client)).error?.code).toBe(Status.UNAVAILABLE);
  expect(orders.calls).toBe(0);
});

it("R4 GS: a server that is bound is refused, and so are credentials with interceptors", async () => {
  const orders = await new OrdersServer("a").listen();
  onTestFinished(() => orders.stop());
  expect(() => interceptByCredentials(orders.server, noted([], "ours"))).toThrow(
    "before its address is bound",
  );
  const server = new Server();
  interceptByCredentials(server, noted([], "ours"));
  const own = experimental.createServerCredentialsWithInterceptors(
    ServerCredentials.createInsecure(),
    [noted([], "own")],
  );
  expect(() => server.bindAsync("127.0.0.1:0", own, () => {})).toThrow(
    "interceptors belong to the options of the server",
  );
  expect(() => server.createConnectionInjector(own)).toThrow(TypeError);
});

it.for(["cleartext", "TLS"])(
  "R4 GS: an address that is being bound, in %s, has our interceptor too, and its server starts",
  async (security) => {
    const notes: string[] = [];
    const ca = new TestCa();
    const own = ca.issue();
    const pem = { cert_chain: Buffer.from(own.cert), private_key: Buffer.from(own.key) };
    const isSecure = security === "TLS";
    const orders = new OrdersServer("a");
    const bound = orders.listen(
      0,
      isSecure ? ServerCredentials.createSsl(null, [pem]) : ServerCredentials.createInsecure(),
    );
    interceptByCredentials(orders.server, noted(notes, "ours"));
    onTestFinished(redirectEarlier(orders.server));
    onTestFinished(() => orders.stop());
    // Another server of this process is not taken for it.
    const other = await new OrdersServer("b").listen();
    onTestFinished(() => other.stop());
    await bound;
    orders.server.start();
    expect(() => orders.server.start()).toThrow("already started");

    const client = isSecure
      ? new Orders(orders.address, credentials.createSsl(Buffer.from(ca.cert)), {
          "grpc.ssl_target_name_override": "svc",
        })
      : bareClient(orders.address);
    onTestFinished(() => client.close());
    const elsewhere = bareClient(other.address);
    onTestFinished(() => elsewhere.close());
    expect((await ask(client)).error).toBeNull();
    expect((await ask(elsewhere)).error).toBeNull();
    expect(notes).toEqual(["ours"]);
    client.close();
    await new Promise<void>((resolve) => orders.server.tryShutdown(() => resolve()));
  },
);
