/** Writes docs/reference/mesh.schema.json. Run: node --conditions=inmesh-source scripts/write-mesh-schema.ts */
import { writeFileSync } from "node:fs";
import { meshSchema } from "./mesh-schema.ts";

writeFileSync(new URL("../docs/reference/mesh.schema.json", import.meta.url), meshSchema());
