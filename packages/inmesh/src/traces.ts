/** `inmesh/traces`: spans of a mesh, for applications that run an SDK of OpenTelemetry. Loaded only by them. */
export { traceMesh, type TracedMesh, type TraceOptions } from "@inmesh/core/traces";
