/** A Service without slices may be a name for another one, in DNS: `type: ExternalName`. */
import { ApiError } from "./api-error.ts";
import { isObject } from "./slice.ts";
import type { EndpointInfo } from "@inmesh/core/spi/discovery";

export interface NamedElsewhere {
  readonly endpoint: EndpointInfo | undefined;
  /** Why there is none. */
  readonly why: string | undefined;
}

const DNS_NAME =
  /^(?=.{1,253}\.?$)[a-z0-9_]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9])?)*\.?$/i;

/** `name`: namespace and Service. `port`: its number, or its name in the Service. Throws what the API server fails with, but for 403 and 404. */
export async function externalName(
  read: () => Promise<unknown>,
  name: string,
  port: string,
): Promise<NamedElsewhere> {
  const [namespace = ""] = name.split("/");
  let spec: Readonly<Record<string, unknown>> = {};
  try {
    const object = await read();
    if (isObject(object) && isObject(object["spec"])) spec = object["spec"];
  } catch (error) {
    const status = error instanceof ApiError ? error.status : 0;
    if (status === 404) {
      return none(
        `neither an EndpointSlice of the Service ${name} exists nor the Service: is its name right?`,
      );
    }
    if (status === 403) {
      return none(
        `no EndpointSlice of the Service ${name} exists: is its name right, and has it a selector? ` +
          `If it is an ExternalName, this process must be allowed to read it: kubectl create role inmesh-services -n ${namespace} --verb=get --resource=services`,
      );
    }
    throw error;
  }
  if (spec["type"] !== "ExternalName") {
    return none(
      `no EndpointSlice of the Service ${name} exists: has it a selector, and does a pod match it?`,
    );
  }
  const host = spec["externalName"];
  if (typeof host !== "string" || !DNS_NAME.test(host)) {
    return none(`the Service ${name} is an ExternalName, and its name is none of DNS`);
  }
  const number = portOf(spec["ports"], port);
  if (number === undefined) {
    return none(
      `the Service ${name} is an ExternalName for ${host}, and says nothing of the port${port === "" ? "" : ` ${port}`}: write its number as port`,
    );
  }
  const endpoint = {
    host: host.replace(/\.$/, ""),
    port: number,
    metadata: { externalName: host },
  };
  return { endpoint, why: undefined };
}

function none(why: string): NamedElsewhere {
  return { endpoint: undefined, why };
}

function portOf(ports: unknown, wanted: string): number | undefined {
  const number = Number(wanted);
  if (wanted !== "" && Number.isInteger(number)) {
    return number >= 1 && number <= 65_535 ? number : undefined;
  }
  const list = (Array.isArray(ports) ? ports : []).filter(isObject);
  const one =
    wanted === ""
      ? list.length === 1
        ? list[0]
        : undefined
      : list.find(({ name }) => name === wanted);
  const found = one?.["port"];
  return typeof found === "number" && found >= 1 && found <= 65_535 ? found : undefined;
}
