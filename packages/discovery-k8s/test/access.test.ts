/** Who this process is for the API server: service accounts, kubeconfigs, and their mistakes. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SimRuntime } from "@inmesh/core/testing";
import { describe, expect, it } from "vitest";
import { findAccess } from "../src/access.ts";
import { readToken } from "../src/credentials.ts";
import { readKubeconfig } from "../src/kubeconfig.ts";

const folder = mkdtempSync(join(tmpdir(), "inmesh-access-"));
const file = (name: string, text: string): string => {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o700 });
  return path;
};

describe("in a pod", () => {
  file("token", "first\n");
  file("ca.crt", "CA");
  file("namespace", "shop\n");
  const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" };

  it("the token is read again each minute, and at once after it was refused", async () => {
    const runtime = new SimRuntime(1);
    const access = await findAccess({ serviceAccountDir: folder }, runtime, env);
    expect(access.servers).toEqual(["https://[fd00::1]:6443"]);
    expect(access.namespace).toBe("shop");
    expect(await access.ca()).toBe("CA");
    expect((await access.credentials(false)).token).toBe("first");
    file("token", "second");
    expect((await access.credentials(false)).token).toBe("first");
    await runtime.advance(60_000);
    expect((await access.credentials(false)).token).toBe("second");
    file("token", "third");
    expect((await access.credentials(true)).token).toBe("third");
  });

  it("a token that is half written leaves the last good one", async () => {
    const access = await findAccess({ serviceAccountDir: folder }, new SimRuntime(1), env);
    const { token } = await access.credentials(false);
    file("token", "");
    expect((await access.credentials(true)).token).toBe(token);
    file("token", "two\nlines");
    await expect(readToken(join(folder, "token"))).rejects.toThrow("holds no token");
  });
});

it("outside of a pod and without a kubeconfig the error says both", async () => {
  const env = { KUBECONFIG: join(folder, "none") };
  await expect(findAccess({}, new SimRuntime(1), env)).rejects.toThrow(
    /in no pod .*the kubeconfig .*none cannot be read \(ENOENT\)/,
  );
});

const config = (user: object, cluster: object = { server: "https://10.0.0.1:6443" }): string =>
  JSON.stringify({
    "current-context": "a",
    contexts: [{ name: "a", context: { cluster: "c", user: "u", namespace: "shop" } }],
    clusters: [{ name: "c", cluster }],
    users: [{ name: "u", user }],
  });

describe("a kubeconfig", () => {
  const path = join(folder, "config");

  it("says every mistake at once, and shows no secret", () => {
    const text = config(
      { username: "me", password: "secret-password", "auth-provider": {} },
      { server: "ftp://x", "proxy-url": "socks5://proxy.test" },
    );
    let message = "";
    try {
      readKubeconfig(text, path, undefined);
    } catch (error) {
      message = String(error);
    }
    expect(message).toContain("server of the cluster must be an http or https URL");
    expect(message).toContain("proxy-url of the cluster must be an http or https URL");
    expect(message).toContain("auth-provider of the user is not supported");
    expect(message).toContain("password of the user is not supported");
    expect(message).not.toContain("secret-password");
    expect(() => readKubeconfig("[", path, undefined)).toThrow("it is no YAML");
    expect(() => readKubeconfig(config({}), path, "b")).toThrow(
      'contexts has no context named "b"',
    );
  });

  it("gives a static token, certificates as data or files, and the name of the server", async () => {
    file("ca.pem", "CA");
    const cluster = {
      server: "https://10.0.0.1:6443/k8s/clusters/a",
      "certificate-authority": "ca.pem",
      "tls-server-name": "kubernetes",
    };
    const user = {
      token: "t",
      "client-certificate-data": Buffer.from("CERT").toString("base64"),
      "client-key": file("key.pem", "KEY"),
    };
    const read = readKubeconfig(config(user, cluster), path, undefined);
    expect(read).toMatchObject({
      servers: ["https://10.0.0.1:6443/k8s/clusters/a"],
      namespace: "shop",
      serverName: "kubernetes",
    });
    expect(await read.ca()).toBe("CA");
    expect(await read.credentials()).toEqual({ token: "t", cert: "CERT", key: "KEY" });
  });

  it("says how a user of OIDC becomes one of an exec plugin, by commands that kubectl takes", () => {
    const provider = {
      name: "oidc",
      config: {
        "idp-issuer-url": "https://id.example.com",
        "client-id": "mesh",
        "client-secret": "secret-of-client",
        "refresh-token": "secret-to-refresh",
      },
    };
    let message = "";
    try {
      readKubeconfig(config({ "auth-provider": provider }), path, undefined);
    } catch (error) {
      message = String(error);
    }
    expect(message).toContain("--exec-arg=--oidc-issuer-url=https://id.example.com");
    expect(message).toContain("--exec-arg=--oidc-client-id=mesh");
    expect(message).not.toContain("secret-");
    const [, commands = ""] = /renew the token: (.*)$/.exec(message) ?? [];
    const written = file("oidc-config", config({ "auth-provider": provider }));
    const run = spawnSync("sh", ["-c", commands], { env: { ...process.env, KUBECONFIG: written } });
    // Where kubectl is not installed, the shell says 127.
    if (run.status === 127) return;
    expect(run.status, String(run.stderr)).toBe(0);
    expect(readKubeconfig(readFileSync(written, "utf8"), written, undefined).servers).toHaveLength(
      1,
    );
  });

  it("runs an exec plugin, and shows nothing of what it prints when it fails", async () => {
    const credential = { kind: "ExecCredential", status: { token: "from-plugin" } };
    file(
      "plugin",
      `#!/bin/sh\ntest "$FLAVOUR" = dark || exit 3\necho '${JSON.stringify(credential)}'\n`,
    );
    const exec = { command: "./plugin", env: [{ name: "FLAVOUR", value: "dark" }] };
    const read = readKubeconfig(config({ exec }), path, undefined);
    expect((await read.credentials()).token).toBe("from-plugin");
    file("bad", "#!/bin/sh\necho secret-output\necho secret-output >&2\nexit 7\n");
    const bad = readKubeconfig(config({ exec: { command: "./bad" } }), path, undefined);
    await expect(bad.credentials()).rejects.toThrow(/^the exec plugin \.\/bad has failed \(7\)$/);
  });
});
