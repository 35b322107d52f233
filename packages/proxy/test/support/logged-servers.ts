/**
 * Servers of others that log each request they have understood: Debian's nginx, apache2 and haproxy, and Python's
 * http.server. Undefined: the program is not here.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished } from "vitest";
import { freePort } from "../../../../scripts/free-port.ts";

export interface LoggedServer {
  readonly port: number;
  /** `METHOD target`, in the order in which they ended; `-`: what it refused without having read a request. */
  lines(): string[];
}

export type LoggedServerKind = "nginx" | "apache2" | "haproxy" | "http.server";
export const LOGGED_SERVERS: readonly LoggedServerKind[] = [
  "nginx",
  "apache2",
  "haproxy",
  "http.server",
];

const PROGRAMS: Readonly<Record<LoggedServerKind, readonly string[]>> = {
  nginx: ["/usr/sbin/nginx"],
  apache2: ["/usr/sbin/apache2"],
  haproxy: ["/usr/sbin/haproxy"],
  "http.server": ["/usr/bin/python3", "/usr/local/bin/python3"],
};

export function programOf(kind: LoggedServerKind): string | undefined {
  return PROGRAMS[kind].find((path) => existsSync(path));
}

/** It is stopped when the test ends. */
export async function loggedServer(kind: LoggedServerKind): Promise<LoggedServer> {
  const folder = mkdtempSync(join(tmpdir(), "mesh-proxy-"));
  // Workers of a server that root has started are somebody else.
  chmodSync(folder, 0o755);
  const port = await freePort();
  const { args, log } = SETUPS[kind](folder, port);
  const child = spawn(programOf(kind)!, args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  let problems = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString("latin1")));
  child.stderr.on("data", (chunk: Buffer) => (problems += chunk.toString()));
  onTestFinished(async () => {
    await ended(child);
    rmSync(folder, { recursive: true, force: true });
  });
  await expect
    .poll(() => (child.exitCode === null ? answers(port) : Promise.reject(new Error(problems))))
    .toBe(true);
  return {
    port,
    lines: () =>
      (log === undefined ? said : existsSync(log) ? readFileSync(log, "latin1") : "")
        .split("\n")
        .slice(0, -1)
        .map(understood),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  // nginx and apache2 end their workers with TERM, and leave them behind with KILL.
  child.kill("SIGTERM");
  await exited;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}

/** Of a line of a log: a request line as it was read, maybe with what the server escapes. */
function understood(line: string): string {
  const [, method, target] =
    /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+)/.exec(
      line.replace(/#([0-9A-F]{2})/g, (_, hex: string) =>
        String.fromCharCode(Number.parseInt(hex, 16)),
      ),
    ) ?? [];
  return method === undefined || target === "<BADREQ>" ? "-" : `${method} ${target}`;
}

interface Setup {
  readonly args: string[];
  /** Undefined: it logs on stdout. */
  readonly log: string | undefined;
}

const SETUPS: Readonly<Record<LoggedServerKind, (folder: string, port: number) => Setup>> = {
  nginx: (folder, port) => {
    const file = join(folder, "nginx.conf");
    const log = join(folder, "requests.log");
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    writeFileSync(
      file,
      `daemon off;
worker_processes 1;
error_log ${folder}/error.log;
pid ${folder}/nginx.pid;
events { worker_connections 512; }
http {
${temporary.map((name) => `  ${name}_temp_path ${folder}/${name};`).join("\n")}
  log_format one escape=none '$request';
  access_log ${log} one;
  server {
    listen 127.0.0.1:${port};
    location / { default_type text/plain; return 200 "ok"; }
  }
}
`,
    );
    return { args: ["-c", file, "-e", join(folder, "error.log")], log };
  },
  apache2: (folder, port) => {
    const file = join(folder, "apache.conf");
    const log = join(folder, "requests.log");
    const page = join(folder, "ok.txt");
    writeFileSync(page, "ok");
    const modules = ["mpm_event", "authz_core", "alias"].map(
      (name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`,
    );
    writeFileSync(
      file,
      `ServerRoot ${folder}
ServerName localhost
Listen 127.0.0.1:${port}
PidFile ${folder}/apache.pid
ErrorLog ${folder}/error.log
DefaultRuntimeDir ${folder}
${modules.join("\n")}
User www-data
Group www-data
DocumentRoot ${folder}
AliasMatch .* ${page}
<Directory ${folder}>
  Require all granted
</Directory>
KeepAlive On
MaxKeepAliveRequests 0
LogFormat "%r" one
CustomLog ${log} one
`,
    );
    return { args: ["-f", file, "-D", "FOREGROUND"], log };
  },
  haproxy: (folder, port) => {
    const file = join(folder, "haproxy.cfg");
    writeFileSync(
      file,
      `global
  nbthread 1
  maxconn 512
  log stdout format raw local0
defaults
  mode http
  log global
  option dontlognull
  timeout client 60s
  timeout server 60s
  timeout connect 1s
frontend front
  bind 127.0.0.1:${port}
  log-format "%HM %HU"
  http-request return status 200 content-type text/plain string ok
`,
    );
    return { args: ["-db", "-f", file], log: undefined };
  },
  "http.server": (folder, port) => {
    const file = join(folder, "server.py");
    writeFileSync(
      file,
      `import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_request(self, code="-", size="-"):
        sys.stdout.write((self.requestline or "-") + "\\n")
        sys.stdout.flush()

    def log_message(self, *_):
        pass

class Server(ThreadingHTTPServer):
    request_queue_size = 64

    def handle_error(self, *_):
        pass

Server(("127.0.0.1", ${port}), Handler).serve_forever()
`,
    );
    return { args: ["-u", file], log: undefined };
  },
};
