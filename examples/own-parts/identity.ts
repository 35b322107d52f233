/**
 * An identity source that brings key, certificate and bundle from a command instead of files that the mesh
 * follows, and accepts peers by the URI in their certificates (SPIFFE) instead of their DNS names. Run with
 * `node --conditions=inmesh-source examples/own-parts/identity.ts`; it needs the program openssl.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { context, createMesh, meshClient, meshServer, type IdentitySource } from "inmesh";

const folder = mkdtempSync(join(tmpdir(), "inmesh-identity-"));
const at = (name: string): string => join(folder, name);
const openssl = (line: string): void =>
  void execFileSync("openssl", line.split(" "), { cwd: folder, stdio: "ignore" });
const newKey = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/** An authority of its own, which a real source has elsewhere: behind the Workload API of SPIFFE, say. */
openssl(`req -x509 ${newKey} -keyout ca.key -out ca.pem -days 1 -subj /CN=authority`);

function issue(id: string): { cert: string; key: string; ca: string } {
  writeFileSync(at("names"), `subjectAltName=URI:${id}`);
  openssl(`req ${newKey} -keyout own.key -out own.csr -subj /CN=own`);
  const signed = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile names";
  openssl(`x509 -req -in own.csr -out own.pem ${signed}`);
  const read = (name: string): string => readFileSync(at(name), "utf8");
  return { cert: read("own.pem"), key: read("own.key"), ca: read("ca.pem") };
}

/** A new certificate for `id` every `everyMs`; peers of the same trust domain are accepted. */
function spiffe(name: string, id: string, everyMs: number): IdentitySource {
  const domain = `spiffe://${new URL(id).host}/`;
  return {
    name,
    watch(sink) {
      const renew = (): void => {
        try {
          sink.replace(issue(id));
        } catch (error) {
          sink.failed(error instanceof Error ? error : new Error(String(error)));
        }
      };
      renew();
      const timer = setInterval(renew, everyMs).unref();
      return { refresh: renew, stop: () => clearInterval(timer) };
    },
    verifyPeer: ({ uris: [uri = "", ...more] }) =>
      (more.length === 0 && uri.startsWith(domain)) || `${uri} is not of ${domain}`,
  };
}

const serving = createMesh({ identities: [spiffe("orders", "spiffe://shop/orders", 60_000)] });
const server = meshServer(
  (_request, response) => void response.end(`served ${context.getStore()?.peer?.uris.join()}`),
  { mesh: serving, tls: { identity: "orders", requestCert: true } },
);
const { port } = await server.listen(0, "127.0.0.1");
const url = `https://127.0.0.1:${port}`;
for (const id of ["spiffe://shop/cart", "spiffe://elsewhere/thief"]) {
  const mesh = createMesh({ identities: [spiffe("own", id, 60_000)] });
  const orders = meshClient(url, { mesh, tls: { identity: "own" }, retry: { attempts: 1 } });
  const text = await orders.fetch("/").then(
    (reply) => reply.text(),
    (error) => `${id}: ${error.reason}`,
  );
  process.stdout.write(`${text}\n`);
  await mesh.close();
}
await server.close();
await serving.close();
rmSync(folder, { recursive: true });
