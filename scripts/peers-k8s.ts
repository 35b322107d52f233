/**
 * `npm run peers:k8s`: builds kube-apiserver, kube-controller-manager, kubectl and etcd from their sources, in exact
 * versions, into a folder outside the repository, and prints its name. Needs Go; takes some minutes once. With
 * `--client-node` the JavaScript client of Kubernetes is installed beside them, which tests and benchmarks compare with.
 * `npm run test:k8s` does all that and runs packages/discovery-k8s/test/ with them.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ETCD, KUBERNETES, kubernetesFolder } from "./peers-folder.ts";

const CLIENT_NODE = "2.0.1";
/** In the order in which they are needed. */
const COMMANDS = ["kube-apiserver", "kube-controller-manager", "kubectl"] as const;

const home: string = kubernetesFolder;
const bin: string = join(home, "bin");

function go(folder: string, args: readonly string[]): string {
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=mod" };
  return execFileSync("go", args, {
    cwd: folder,
    env,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
}

function moduleIn(name: string, text: string, program: string): string {
  const folder = join(home, name);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "go.mod"), `module peers\ngo 1.24.0\n${text}`);
  writeFileSync(join(folder, "main.go"), program);
  return folder;
}

function buildEtcd(): void {
  const folder = moduleIn(
    "etcd-source",
    `require go.etcd.io/etcd/server/v3 v${ETCD}\n`,
    'package main\nimport ("os"; "go.etcd.io/etcd/server/v3/etcdmain")\nfunc main() { etcdmain.Main(os.Args) }\n',
  );
  go(folder, ["mod", "tidy"]);
  go(folder, ["build", "-o", join(bin, "etcd"), "."]);
}

/** Kubernetes names the modules that it is published with as v0.0.0, so each has to be replaced by its release. */
function buildKubernetes(names: readonly string[]): void {
  const required = `require k8s.io/kubernetes v${KUBERNETES}\n`;
  const imports = COMMANDS.map((name) => `import _ "k8s.io/kubernetes/cmd/${name}"\n`).join("");
  const program = `//go:build tools\n\npackage peers\n\n${imports}`;
  let folder = moduleIn("kubernetes-source", required, program);
  const found: unknown = JSON.parse(
    go(folder, ["mod", "download", "-json", `k8s.io/kubernetes@v${KUBERNETES}`]),
  );
  const manifest = readFileSync((found as { GoMod: string }).GoMod, "utf8");
  const staged = new Set(
    [...manifest.matchAll(/^\s*(k8s\.io\/[a-z0-9-]+) (?:v0\.0\.0$|=> )/gm)].map(([, name]) => name),
  );
  const release = KUBERNETES.replace(/^1\./, "0.");
  const replaced = [...staged].map((name) => `replace ${name} => ${name} v${release}\n`).join("");
  folder = moduleIn("kubernetes-source", required + replaced, program);
  // Tests of dependencies name modules that are not needed for the commands.
  go(folder, ["mod", "tidy", "-e"]);
  const version = [
    `gitVersion=v${KUBERNETES}`,
    "gitMajor=1",
    `gitMinor=${KUBERNETES.split(".")[1]}`,
  ];
  const flags = version.map((one) => `-X k8s.io/component-base/version.${one}`).join(" ");
  for (const name of names) {
    const command = `k8s.io/kubernetes/cmd/${name}`;
    go(folder, ["build", "-ldflags", `-s -w ${flags}`, "-o", join(bin, name), command]);
  }
}

/** It brings 68 packages, which is why it is no dependency of the repository. */
function installClient(): void {
  const folder = join(home, "client-node");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
  const flags = ["--no-audit", "--no-fund", "--loglevel=error"];
  const run = spawnSync("npm", ["install", ...flags, `@kubernetes/client-node@${CLIENT_NODE}`], {
    cwd: folder,
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (run.status !== 0) console.error("peers: the JavaScript client could not be installed");
}

mkdirSync(bin, { recursive: true });
if (!existsSync(join(bin, "etcd"))) buildEtcd();
const missing = COMMANDS.filter((name) => !existsSync(join(bin, name)));
if (missing.length > 0) buildKubernetes(missing);
const wantsClient = process.argv.includes("--client-node") || process.argv.includes("--test");
if (wantsClient && !existsSync(join(home, "client-node/node_modules/@kubernetes/client-node"))) {
  installClient();
}
console.log(bin);
if (process.argv.includes("--test")) {
  const env = { ...process.env, INMESH_KUBE_BIN: bin };
  const run = spawnSync("vitest", ["run", "--project", "discovery-k8s-wire"], {
    env,
    stdio: "inherit",
  });
  process.exitCode = run.status ?? 1;
}
