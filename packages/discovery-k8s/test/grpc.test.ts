/** gRPC clients over a watched Service. */
import { status as Status } from "@grpc/grpc-js";
import { describe, expect, it, onTestFinished } from "vitest";
import { get } from "../../grpc/test/support/bench.ts";
import { clientOf, failed, serverOf } from "../../grpc/test/support/wire.ts";
import { kubernetes } from "../src/index.ts";
import { FakeApi, type FakeEndpoint } from "./support/fake-api.ts";
import { kubeconfigFor } from "./support/watched.ts";

async function watched(...endpoints: readonly (readonly [port: number, FakeEndpoint])[]) {
  const api = new FakeApi();
  const kubeconfig = kubeconfigFor(await api.listen(), "token");
  onTestFinished(() => api.close());
  /** A slice for each port, because all servers of a test have one address. */
  const say = (given: typeof endpoints): void => {
    for (const [port, endpoint] of given) {
      api.put({
        name: `orders-${port}`,
        service: "orders",
        ports: [{ name: "grpc", port }],
        endpoints: [endpoint],
      });
    }
  };
  say(endpoints);
  const discovery = { kubernetes: "shop/orders:grpc" };
  const options = { discoveries: [kubernetes({ kubeconfig })] };
  return { api, say, ...clientOf([], { discovery }, options) };
}

const portOf = ({ address }: { readonly address: string }): number =>
  Number(address.split(":").at(-1));
const at = (uid: string, conditions: object = {}): FakeEndpoint => ({
  address: "127.0.0.1",
  uid,
  ...conditions,
});

describe("D: a watched Service, gRPC client", () => {
  it("D4 GC: while the watch is reset and the API server is away, no call fails", async () => {
    const server = await serverOf();
    const { api, client, mesh } = await watched([portOf(server), at("1")]);
    await get(client, {});
    await api.close();
    for (let i = 0; i < 20; i++) expect((await get(client, {})).id).toBe(server.name);
    await expect.poll(() => mesh.snapshot().services[0]!.discovery.state).toBe("stale");
    expect((await get(client, {})).id).toBe(server.name);
  });

  it("D9 GC: calls leave an endpoint that terminates, and use it again when nothing else is ready", async () => {
    const [one, two] = [await serverOf(), await serverOf()];
    const ports = [portOf(one), portOf(two)] as const;
    const going = { ready: false, serving: true, terminating: true };
    const { client, say } = await watched([ports[0], at("1")], [ports[1], at("2")]);
    const answers = async (): Promise<string> => {
      const replies = await Promise.all(Array.from({ length: 20 }, () => get(client, {})));
      return [...new Set(replies.map(({ id }) => id))].toSorted().join(" ");
    };
    await expect.poll(answers).toBe([one.name, two.name].toSorted().join(" "));
    say([[ports[0], at("1", going)]]);
    await expect.poll(answers).toBe(two.name);
    say([[ports[1], at("2", { ready: false, serving: false, terminating: true })]]);
    await expect.poll(answers).toBe(one.name);
    say([[ports[0], at("1", { ready: false, serving: false, terminating: true })]]);
    await expect
      .poll(() =>
        get(client, {}).then(
          () => 0,
          (error: { code: number }) => error.code,
        ),
      )
      .toBe(Status.UNAVAILABLE);
    expect((await failed(get(client, {}))).code).toBe(Status.UNAVAILABLE);
  });
});
