/**
 * Asks through every door for the URLs that it is given, one after the other, and prints what each got. Its
 * parent sets the variables of a proxy; `how` is what the program itself does for one.
 */
import { get as getPlain, type Agent, type IncomingMessage } from "node:http";
import * as http from "node:http";
import { get as getSecure } from "node:https";
import { text } from "node:stream/consumers";
import { createMesh, meshClient, type HttpMesh } from "@inmesh/http";

export interface Task {
  readonly how: "environment" | "global-dispatcher" | "global-proxy";
  readonly services: Readonly<Record<string, object>>;
  readonly doors: readonly Door[];
  readonly urls: readonly string[];
}

export type Door = keyof typeof doors;

const doors = {
  fetch: async (mesh: HttpMesh, url: string) => (await mesh.fetch(url)).text(),
  dispatcher: async (mesh: HttpMesh, url: string) => {
    const { origin, pathname: path } = new URL(url);
    const { body } = await mesh.dispatcher.request({ origin, path, method: "GET" });
    return body.text();
  },
  agent: async (mesh: HttpMesh, url: string) => {
    const secure = url.startsWith("https:");
    const agent: Agent = secure ? mesh.agent("https") : mesh.agent();
    const reply = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = secure
        ? getSecure(url, { agent }, resolve)
        : getPlain(url, { agent }, resolve);
      request.on("error", reject);
    });
    return text(reply);
  },
  builtIn: async (mesh: HttpMesh, url: string) => {
    const remove = mesh.installGlobal();
    try {
      return await (await fetch(url)).text();
    } finally {
      remove();
    }
  },
  client: async (mesh: HttpMesh, url: string) => {
    const { origin, hostname, pathname } = new URL(url);
    const known = mesh.config.current.services[hostname] !== undefined;
    return (await meshClient(known ? hostname : origin, { mesh }).fetch(pathname)).text();
  },
} as const;

const task = JSON.parse(process.argv[2]!) as Task;
if (task.how === "global-dispatcher") {
  // Not before: on Node 22 the import alone puts a plain Agent in the place of the environment's proxy.
  const { EnvHttpProxyAgent, setGlobalDispatcher } = await import("undici");
  setGlobalDispatcher(new EnvHttpProxyAgent());
}
if (task.how === "global-proxy") {
  (http as unknown as { setGlobalProxyFromEnv(): void }).setGlobalProxyFromEnv();
}
const mesh = createMesh({ env: {}, config: { services: task.services } });
const got: Record<string, string[]> = {};
for (const door of task.doors) {
  got[door] = [];
  for (const url of task.urls) {
    got[door].push(
      await doors[door](mesh, url).catch((error: Error) => `failed: ${error.message}`),
    );
  }
}
console.log(JSON.stringify(got));
await mesh.close();
process.exit();
