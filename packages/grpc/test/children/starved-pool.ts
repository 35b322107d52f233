/** D21: calls a service found by DNS while all of libuv's threads are blocked; prints what became of it. */
import { status as Status, type ServiceError } from "@grpc/grpc-js";
import { meshGrpc } from "@inmesh/grpc";
import { callThroughFamine, dnsMesh } from "../../../http/test/support/famine.ts";
import { get } from "../support/bench.ts";
import { Orders } from "../support/orders.ts";

const folder = process.argv[3]!;
const { mesh, dns } = await dnsMesh(Number(process.argv[2]), folder);
const caller = (name: string): (() => Promise<string>) => {
  const client = new Orders(...meshGrpc(name, { mesh }));
  return () =>
    get(client, {}, { deadline: Date.now() + 10_000 }).then(
      () => "OK",
      (error: ServiceError) => Status[error.code]!,
    );
};
await callThroughFamine(folder, caller("orders"), caller("stock"));
await mesh.close(0);
await dns.close();
