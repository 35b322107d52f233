/** `@inmesh/core/traces`: spans of a mesh. Loaded only by those who have OpenTelemetry. */
export { traceMesh, type TracedMesh, type TraceOptions } from "./trace-mesh.ts";
