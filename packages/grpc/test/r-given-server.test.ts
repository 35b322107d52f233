/**
 * R4: a given server without the list of its interceptors, which is where our own would go: it goes in
 * with the credentials of an address, and where that would leave calls out, the start fails.
 */
import {
  experimental,
  Server,
  ServerCredentials,
  status as Status,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import { expect, it, onTestFinished } from "vitest";
import { interceptByCredentials } from "../src/server/given-server.ts";
import { OrdersServer } from "./support/orders.ts";
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
