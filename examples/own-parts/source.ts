/**
 * A configuration source: a control plane that is asked over HTTP, gives whole documents with a version, and
 * gets a report of which of them are in force and what is wrong with the others. Run with
 * `node --conditions=inmesh-source examples/own-parts/source.ts`.
 */
import { createMesh, meshClient, meshServer, type ConfigSource } from "inmesh";

/** What the control plane answers: the shape of a mesh.yaml, and its version. */
interface Document {
  version: string;
  config: object;
}

/** `url` is asked every `everyMs`; a GET gives the document, a POST takes what became of one. */
function controlPlane(url: string, everyMs: number): ConfigSource {
  return {
    name: "control",
    rank: "control-plane",
    watch(sink, { runtime }) {
      let stopped = false;
      let seen = "";
      let timer = runtime.after(0, ask, undefined);
      function ask(): void {
        timer = runtime.after(everyMs, ask, undefined);
        fetch(url)
          .then((reply) => reply.text())
          .then((text) => {
            if (stopped || text === seen) return;
            const { version, config }: Document = JSON.parse(text);
            seen = text;
            sink.replace({ input: config, version, origin: `${url}#${version}` });
          })
          // The last good document stays in force.
          .catch((error: unknown) => stopped || sink.failed(new Error(`${url}: ${error}`)));
      }
      return {
        report({ layer: { version }, result, mistakes }) {
          const body = JSON.stringify({ version, result, mistakes });
          fetch(url, { method: "POST", body }).catch(() => {});
        },
        stop() {
          stopped = true;
          timer.cancel();
        },
      };
    },
  };
}

const write = (line: string): boolean => process.stdout.write(`${line}\n`);
const orders = meshServer((_request, response) => response.end("answered"));
const ordersUrl = `http://127.0.0.1:${(await orders.listen(0, "127.0.0.1")).port}`;

let current: Document = { version: "", config: {} };
const document = (version: string, attempts: number): void => {
  current = { version, config: { services: { orders: { url: ordersUrl, retry: { attempts } } } } };
};
const heard: string[] = [];
const control = meshServer(async (request, response) => {
  let text = "";
  for await (const chunk of request) text += chunk;
  if (text === "") return void response.end(JSON.stringify(current));
  const { version, result, mistakes } = JSON.parse(text);
  heard.push(`${version} ${result}${mistakes.map((one: { rule: string }) => `: ${one.rule}`)}`);
  response.end();
});
const { port } = await control.listen(0, "127.0.0.1");

document("v1", 3);
const mesh = createMesh({ sources: [controlPlane(`http://127.0.0.1:${port}/`, 20)] });
await mesh.configured();
write(await (await meshClient("orders", { mesh }).fetch("/")).text());
document("v2", 99);
while (heard.length < 2) await new Promise((resolve) => setTimeout(resolve, 10));
write(heard.join("\n"));
const { rank, origin } = mesh.explain(["services", "orders", "retry", "attempts"]);
write(`in force: by ${rank}, from ${origin.replace(/.*#/, "")}`);
await mesh.close();
await Promise.all([control.close(), orders.close()]);
