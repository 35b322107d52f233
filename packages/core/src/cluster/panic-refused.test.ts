import { expect, it } from "vitest";
import { Call } from "../call.ts";
import { MeshError } from "../errors.ts";
import { createMesh } from "../mesh.ts";
import { SimRuntime } from "../testing/sim-runtime.ts";
import { StubRequest, stubProtocol } from "../testing/stub-transport.ts";

it("in panic, an ejected endpoint that then refuses connections leaves at once", async () => {
  const runtime = new SimRuntime(7);
  let refusing = false;
  const refused = new MeshError({
    code: "connect_failed",
    reason: "connect_refused",
    message: "refused",
    progress: "not-sent",
  });
  const mesh = createMesh({
    runtime,
    env: {},
    config: {
      services: {
        orders: {
          url: "http://orders:80",
          discovery: { static: ["10.0.0.1:80", "10.0.0.2:80"] },
          retry: { attempts: 1 },
        },
      },
    },
  });
  const protocol = stubProtocol(
    (exchange) =>
      refusing ? exchange.fail(refused, "failure", true) : exchange.reply("failure", 500),
    () => Promise.resolve(!refusing),
  );
  const service = mesh.service("orders", protocol);
  const call = (): Promise<unknown> =>
    service.current(new Call("orders", new StubRequest(), true, true)).then(
      ({ code }) => code,
      (error: MeshError) => error.reason,
    );
  for (let i = 0; i < 30; i++) await call();
  expect(mesh.snapshot().services[0]?.panic).toBe(true);
  refusing = true;
  for (let i = 0; i < 4; i++) await call();
  const [service0] = mesh.snapshot().services;
  expect(service0?.endpoints.map(({ breaker }) => breaker.trigger)).toEqual(["connect", "connect"]);
  expect(await call()).toBe("all_open");
  await mesh.close(0);
});
