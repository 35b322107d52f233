/** Writes docs/reference/config.md. Run: node --conditions=inmesh-source scripts/write-config-reference.ts */
import { writeFileSync } from "node:fs";
import { configReference } from "./config-reference.ts";

writeFileSync(new URL("../docs/reference/config.md", import.meta.url), configReference());
