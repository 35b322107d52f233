/** Writes docs/reference/admin-api.schema.json, and the tables of docs/reference/admin-api.md. Run: node scripts/write-admin-reference.ts */
import { writeFileSync } from "node:fs";
import { adminPage, adminSchema } from "./admin-reference.ts";

const folder: URL = new URL("../docs/reference/", import.meta.url);
writeFileSync(new URL("admin-api.schema.json", folder), adminSchema());
writeFileSync(new URL("admin-api.md", folder), adminPage());
