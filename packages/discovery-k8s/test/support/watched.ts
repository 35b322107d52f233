/** A kind that watches a fake API server, and what a service of it hears. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  addressOf,
  type DiscoveryMesh,
  type DiscoveryOfService,
  type EndpointInfo,
  type EndpointSink,
  type EndpointWatch,
  type Runtime,
} from "@inmesh/core/spi/discovery";
import { AheadRuntime } from "@inmesh/core/testing";
import { kubernetes } from "../../src/index.ts";

/** The file of a user with a token, for the server at `port`, which speaks TLS where it has a `ca`. */
export function kubeconfigFor(port: number, token: string, ca?: string): string {
  const path = join(mkdtempSync(join(tmpdir(), "inmesh-k8s-")), "config");
  const config = {
    "current-context": "test",
    contexts: [{ name: "test", context: { cluster: "test", user: "test", namespace: "shop" } }],
    clusters: [
      {
        name: "test",
        cluster:
          ca === undefined
            ? { server: `http://127.0.0.1:${port}` }
            : {
                server: `https://127.0.0.1:${port}`,
                "certificate-authority-data": Buffer.from(ca).toString("base64"),
              },
      },
    ],
    users: [{ name: "test", user: { token } }],
  };
  writeFileSync(path, JSON.stringify(config));
  return path;
}

export class Heard implements EndpointSink {
  readonly set = new Map<string, EndpointInfo>();
  readonly news: string[] = [];
  readonly errors: Error[] = [];
  why: string | undefined;
  /** Every set that calls could have seen. */
  readonly sizes: number[] = [];

  replace(endpoints: readonly EndpointInfo[], why?: string): void {
    this.news.push("replace");
    this.why = why;
    this.set.clear();
    for (const info of endpoints) this.set.set(addressOf(info), info);
    this.sizes.push(this.set.size);
  }

  change(upserted: readonly EndpointInfo[], removed: readonly EndpointInfo[]): void {
    this.news.push(`change +${upserted.length} -${removed.length}`);
    for (const info of removed) this.set.delete(addressOf(info));
    for (const info of upserted) this.set.set(addressOf(info), info);
    this.sizes.push(this.set.size);
  }

  failed(error: Error): void {
    this.news.push("failed");
    this.errors.push(error);
  }

  /** Addresses, with a `-` before those that drain, and with `--` before those that do not serve any more. */
  get addresses(): string {
    return [...this.set.values()]
      .map((info) => {
        const mark = info.serving === false ? "--" : info.draining === true ? "-" : "";
        return mark + addressOf(info);
      })
      .toSorted()
      .join(" ");
  }
}

export interface Bench {
  readonly runtime: AheadRuntime;
  watch(written: string, heard: Heard): EndpointWatch;
  /** Not until the end of the test. */
  stop(): void;
}

/** Without `given` the runtime is the real one, ahead by what a test adds. */
export function benchFor(path: string, servers?: readonly string[], given?: Runtime): Bench {
  const ahead = new AheadRuntime();
  const runtime = given ?? ahead;
  const made = new Map<unknown, unknown>();
  const mesh = {
    runtime,
    shared(make: (mesh: DiscoveryMesh) => unknown) {
      if (!made.has(make)) made.set(make, make(mesh as unknown as DiscoveryMesh));
      return made.get(make);
    },
  } as unknown as DiscoveryOfService;
  const kind = kubernetes({ kubeconfig: path, ...(servers !== undefined && { servers }) });
  const watches: EndpointWatch[] = [];
  return {
    runtime: ahead,
    watch(written, heard) {
      const context = {
        url: undefined,
        service: "orders",
        mistake: (_: unknown, rule: string) => {
          throw new Error(rule);
        },
      };
      const options = kind.read!({ kubernetes: written }, context)!;
      const watch = kind.open(options, mesh).watch(heard);
      watches.push(watch);
      return watch;
    },
    stop() {
      for (const watch of watches) watch.stop();
    },
  };
}
