/**
 * The suites of other projects that are run through our doors. Nothing of them is copied: a suite is found
 * in `node_modules`, where its project publishes it with the package, or in a folder that `PEER_SUITES`
 * names and that holds checkouts with their dependencies installed: `$PEER_SUITES/undici`.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";

export type Door = "server" | "fetch" | "dispatcher" | "agent";

export interface Suite {
  readonly name: string;
  readonly folder: string;
  /** Globs below the folder. */
  readonly files: readonly string[];
  /** Where a door has to do with some of them only. */
  readonly filesOf?: Readonly<Partial<Record<Door, readonly string[]>>>;
  /** Files that need what is not there, or never end by themselves; each with its reason. */
  readonly leftOut: Readonly<Record<string, string>>;
  readonly runner: "node-test" | "mocha" | "ava" | "script";
  /** For its runner, before the file; of ava, for the node that runs the tests. */
  readonly args?: readonly string[];
  readonly doors: readonly Door[];
}

type Known = Omit<Suite, "folder" | "leftOut"> & { readonly leftOut?: Suite["leftOut"] };

const KNOWN: readonly Known[] = [
  {
    name: "fastify",
    files: ["test/*.test.js", "test/{http2,https,logger,internals}/*.test.js"],
    runner: "node-test",
    doors: ["server", "fetch"],
  },
  { name: "light-my-request", files: ["test/*.test.js"], runner: "node-test", doors: ["server"] },
  {
    name: "undici",
    files: ["test/*.js", "test/{fetch,node-fetch,interceptors,mock-interceptor*}/*.js"],
    runner: "node-test",
    filesOf: { fetch: ["test/{fetch,node-fetch}/*.js"] },
    args: ["--expose-gc"],
    doors: ["server", "dispatcher", "fetch"],
  },
  { name: "node-fetch", files: ["test/*.js"], runner: "mocha", doors: ["server", "agent"] },
  {
    name: "express",
    files: ["test/*.js", "test/acceptance/*.js"],
    runner: "mocha",
    args: ["--require", "test/support/env"],
    doors: ["server"],
  },
  { name: "koa", files: ["__tests__/**/*.test.js"], runner: "node-test", doors: ["server"] },
  { name: "axios", files: ["test/unit/**/*.js"], runner: "mocha", doors: ["server", "agent"] },
  {
    name: "got",
    files: ["test/*.ts"],
    runner: "ava",
    args: ["--import=tsx/esm"],
    doors: ["server", "agent"],
  },
  {
    name: "node",
    files: [
      "test/parallel/test-http-*.js",
      "test/parallel/test-http2-*.js",
      "test/parallel/test-https-*.js",
    ],
    runner: "script",
    doors: ["server", "agent"],
  },
];

export function findSuites(root: string, peers: string | undefined): Suite[] {
  return KNOWN.flatMap((known) => {
    const places = [
      ...(peers === undefined ? [] : [join(peers, known.name)]),
      join(root, "node_modules", known.name),
    ];
    const folder = places.find((place) =>
      existsSync(join(place, known.files[0]!.split(/[^/]*[*{]/)[0]!)),
    );
    return folder === undefined ? [] : [{ leftOut: {}, ...known, folder }];
  });
}

export const KNOWN_NAMES: readonly string[] = KNOWN.map(({ name }) => name);
