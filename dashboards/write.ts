/** `node dashboards/write.ts`: writes what the package ships for Grafana and Prometheus. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { FILES } from "./files.ts";

for (const [path, text] of FILES) {
  const file = join(import.meta.dirname, "..", path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  console.log(`${path}: ${text.length} characters`);
}
