/**
 * What `inmesh check` says of Kubernetes: whether the API server answers, whether it lets this process read slices,
 * whether the Services that it calls have any, and whether the pod of this process is set up so that it leaves without
 * losing a request. Each is asked for anew, because a person who checks has just changed something.
 */
import { hostname } from "node:os";
import {
  duration,
  type CheckedMesh,
  type DiscoveryConfig,
  type KindCheck,
} from "@inmesh/core/spi/discovery";
import { type AccessOptions, findAccess, isInPod } from "./access.ts";
import { ApiClient } from "./api-client.ts";
import { ApiError } from "./api-error.ts";
import type { Access } from "./credentials.ts";
import { isObject, SERVICE_LABEL } from "./slice.ts";
import type { KubernetesService } from "./source.ts";

/** In the order in which they are said; docs/reference/checks.md has a section for each. */
export const KUBERNETES_CHECKS = [
  "kubernetes-api",
  "kubernetes-access",
  "kubernetes-slices",
  "kubernetes-readiness",
  "kubernetes-grace",
] as const;

type Id = (typeof KUBERNETES_CHECKS)[number];
type Json = Readonly<Record<string, unknown>>;

/** Time that requests in progress should have after a drain has waited for its callers. */
const MARGIN_MS = 10_000;

/** `serviceOf`: what a target means to this kind; undefined: it is not its own. */
export async function checkKubernetes(
  options: AccessOptions,
  mesh: CheckedMesh,
  serviceOf: (discovery: DiscoveryConfig) => KubernetesService | undefined,
): Promise<readonly KindCheck[]> {
  let access: Access;
  try {
    access = await findAccess(options, mesh.runtime, process.env);
  } catch (error) {
    // mesh-proxy has the kind wherever it runs: nothing is wrong with a machine that is in no cluster and asks for none.
    const isAskedFor =
      isInPod(options, process.env) || mesh.services.some(({ discovery }) => serviceOf(discovery));
    if (!isAskedFor) return [];
    const hint = "give kubernetes() a kubeconfig, or run the process in a pod";
    return [said("kubernetes-api", undefined, "failure", (error as Error).message, hint)];
  }
  const api = new ApiClient(access, mesh.runtime);
  try {
    const found = [await checkApi(api, access)];
    if (found[0]!.status !== "ok") return found;
    const services = mesh.services.flatMap(({ discovery }) => serviceOf(discovery) ?? []);
    found.push(...(await checkServices(api, access, services)));
    if (isInPod(options, process.env)) found.push(...(await checkPod(api, access, mesh.servers)));
    return found;
  } finally {
    api.close();
  }
}

function said(
  id: Id,
  subject: string | undefined,
  status: KindCheck["status"],
  message: string,
  hint?: string,
): KindCheck {
  return { id, subject, status, message, hint, page: `docs/reference/checks.md#${id}` };
}

async function checkApi(api: ApiClient, { servers, namespace }: Access): Promise<KindCheck> {
  try {
    const answer = await api.get("/version", namespace);
    const version = isObject(answer) ? String(answer["gitVersion"]) : "of an unknown version";
    return said("kubernetes-api", undefined, "ok", `the API server ${version} answers`);
  } catch (error) {
    const message = `the API server ${servers.join(", ")} cannot be asked: ${(error as Error).message}`;
    const hint =
      error instanceof ApiError && error.status === 401
        ? "look at the token of the service account, or at the user of the kubeconfig"
        : "look at network policies, and at the address; endpoints that are known stay in use";
    return said("kubernetes-api", undefined, "failure", message, hint);
  }
}

async function checkServices(
  api: ApiClient,
  access: Access,
  services: readonly KubernetesService[],
): Promise<KindCheck[]> {
  const refused = new Map<string, string>();
  const namespaces = new Set<string>();
  const slices: KindCheck[] = [];
  const names = new Map(
    services.map((one) => {
      const namespace = one.namespace === "" ? access.namespace : one.namespace;
      return [`${namespace}/${one.service}`, { namespace, service: one.service }];
    }),
  );
  for (const [name, { namespace, service }] of names) {
    namespaces.add(namespace);
    const selector = encodeURIComponent(`${SERVICE_LABEL}=${service}`);
    const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=${selector}&limit=1`;
    try {
      const list = await api.get(path, namespace);
      const count = isObject(list) && Array.isArray(list["items"]) ? list["items"].length : 0;
      slices.push(
        count > 0
          ? said("kubernetes-slices", name, "ok", "it has EndpointSlices")
          : said(
              ...(["kubernetes-slices", name, "warning"] as const),
              "the Service has no EndpointSlice: its name is looked up by DNS, or has no endpoint",
              `kubectl get service ${service} -n ${namespace} shows whether it is there, and whether it has a selector`,
            ),
      );
    } catch (error) {
      const { message } = error as Error;
      const isRefused = error instanceof ApiError && error.status === 403;
      if (isRefused) refused.set(namespace, message);
      else slices.push(said("kubernetes-slices", name, "warning", message, "check once more"));
    }
  }
  const rights = [...namespaces].toSorted().map((namespace) => {
    const message = refused.get(namespace);
    if (message === undefined) {
      const good = "its EndpointSlices may be read";
      return said("kubernetes-access", namespace, "ok", good);
    }
    const [what = message, commands = ""] = message.split("Allow it: ");
    const hint = `run ${commands.replace("; ", " && ")}, or set kubernetes: false where DNS is to be used`;
    return said("kubernetes-access", namespace, "warning", what.trim(), hint);
  });
  return [...rights, ...slices];
}

// ── the pod of this process ────────────────────────────────────────────────────────────────────

async function checkPod(
  api: ApiClient,
  { namespace }: Access,
  servers: CheckedMesh["servers"],
): Promise<KindCheck[]> {
  // A process without a server has no requests to lose.
  if (servers.length === 0) return [];
  const name = process.env["HOSTNAME"] ?? hostname();
  const path = `/api/v1/namespaces/${namespace}/pods/${encodeURIComponent(name)}`;
  let pod: unknown;
  try {
    pod = await api.get(path, namespace);
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 0;
    const why =
      status === 403
        ? "this process may not read its own pod (get of pods in its namespace)"
        : `the pod ${name} cannot be read: ${status === 404 ? "there is none of that name" : (error as Error).message}`;
    return [said("kubernetes-grace", undefined, "ok", `not looked at: ${why}`)];
  }
  const spec = isObject(pod) && isObject(pod["spec"]) ? pod["spec"] : {};
  const containers: readonly unknown[] = Array.isArray(spec["containers"])
    ? spec["containers"]
    : [];
  const all = containers.filter(isObject);
  return [...servers.map((server) => readiness(server, all)), grace(servers, spec, all)];
}

function readiness(
  { name, protocol, readyPath }: CheckedMesh["servers"][number],
  containers: readonly Json[],
): KindCheck {
  const subject = `${name} (${protocol})`;
  const probes = containers.map((one) => one["readinessProbe"]).filter(isObject);
  const wrong = (message: string, hint: string): KindCheck =>
    said("kubernetes-readiness", subject, "warning", message, hint);
  const example = `readinessProbe: { httpGet: { path: ${readyPath ?? "/readyz"}, port: … }, periodSeconds: 2, failureThreshold: 1 }`;
  if (probes.length === 0) {
    const message =
      "no container of the pod has a readiness probe: it gets requests before it listens";
    return wrong(message, protocol === "grpc" ? "add a readinessProbe with grpc" : example);
  }
  const paths = probes.flatMap(({ httpGet }) => {
    const path = isObject(httpGet) ? httpGet["path"] : undefined;
    return typeof path === "string" ? [path] : [];
  });
  const asksGrpc = probes.some(({ grpc }) => isObject(grpc));
  if (protocol === "grpc") {
    return asksGrpc || paths.length > 0
      ? said("kubernetes-readiness", subject, "ok", "the readiness probe asks the process")
      : wrong(
          "the readiness probe asks no health service: a draining server looks ready",
          "let it ask the port with grpc",
        );
  }
  if (readyPath !== undefined && paths.includes(readyPath)) {
    const message = `the readiness probe asks ${readyPath}`;
    return said("kubernetes-readiness", subject, "ok", message);
  }
  const asked = paths.length === 0 ? "no path" : paths.join(", ");
  const message = `the readiness probe asks ${asked}, and not ${readyPath ?? "meshServer, whose health is switched off"}: a server that drains or is overloaded looks ready`;
  return wrong(message, example);
}

function grace(
  servers: CheckedMesh["servers"],
  spec: Json,
  containers: readonly Json[],
): KindCheck {
  const graceMs = 1_000 * Number(spec["terminationGracePeriodSeconds"] ?? 30);
  const waitMs = Math.max(...servers.map(({ leavesAfterMs }) => leavesAfterMs));
  const hooks = containers.flatMap(({ lifecycle }) =>
    isObject(lifecycle) && isObject(lifecycle["preStop"]) ? [lifecycle["preStop"]] : [],
  );
  const sleeps = hooks.map(({ sleep }) => (isObject(sleep) ? Number(sleep["seconds"]) : 0));
  // SIGTERM comes after the hook, and the grace period begins before it.
  const hookMs = 1_000 * Math.max(0, ...sleeps);
  const leftMs = graceMs - hookMs - waitMs;
  const ofHook = hookMs > 0 ? `a preStop hook takes ${duration(hookMs)} and ` : "";
  const parts = `terminationGracePeriodSeconds is ${graceMs / 1_000}, of which ${ofHook}a drain waits ${duration(waitMs)} for its callers`;
  if (leftMs < MARGIN_MS) {
    const left = leftMs <= 0 ? "nothing is" : `${duration(leftMs)} are`;
    const message = `${parts}: ${left} left for requests in progress`;
    const neededS = Math.ceil((hookMs + waitMs + 3 * MARGIN_MS) / 1_000);
    const hint = `raise it to ${neededS} or more, and give drain() less than what it grants`;
    return said("kubernetes-grace", undefined, leftMs <= 0 ? "failure" : "warning", message, hint);
  }
  if (hooks.length > 0) {
    const hint = "remove the preStop hook: the drain waits by itself, and serves meanwhile";
    const message = "a preStop hook delays SIGTERM, so the server learns late that it has to leave";
    return said("kubernetes-grace", undefined, "warning", message, hint);
  }
  return said("kubernetes-grace", undefined, "ok", parts);
}
