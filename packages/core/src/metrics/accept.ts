/** Which of the two text formats the Accept header of a scrape asks for (RFC 9110, section 12.5.1). */
import type { Format } from "./exposition.ts";

/**
 * OpenMetrics for those who name it and do not prefer plain text. Everything else gets plain text, also who
 * takes neither: an answer that a program cannot read helps more than none.
 */
export function formatOf(accept: string | null | undefined): Format {
  let openmetrics = 0;
  let text = -1;
  for (const range of (accept ?? "").split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    const quality = qualityOf(parameters);
    if (type === "application/openmetrics-text") {
      // Prometheus asks for version 0.0.1 too, which is the draft of 1.0.0.
      if (/^(|1\.0\.0|0\.0\.1)$/.test(valueOf(parameters, "version"))) {
        openmetrics = Math.max(openmetrics, quality);
      }
    } else if (type === "text/plain") {
      text = Math.max(text, quality);
    }
  }
  return openmetrics > 0 && openmetrics >= text ? "openmetrics" : "text";
}

/** Between 0 and 1; what is not a number counts as 0. */
function qualityOf(parameters: readonly string[]): number {
  const text = valueOf(parameters, "q");
  if (text === "") return 1;
  return /^[01](\.\d{0,3})?$/.test(text) ? Math.min(1, Number(text)) : 0;
}

function valueOf(parameters: readonly string[], name: string): string {
  const found = parameters.find((one) => one.startsWith(`${name}=`)) ?? "";
  return found.slice(name.length + 1).replaceAll('"', "");
}
