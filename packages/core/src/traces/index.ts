/** `@inmesh/core/traces`: spans of a mesh. Loaded only by those who have OpenTelemetry. */
export { traceMesh, type TracedMesh } from "./trace-mesh.ts";
