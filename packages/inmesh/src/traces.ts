/** `inmesh/traces`: spans of a mesh, for applications that run an SDK of OpenTelemetry. Loaded only by them. */
export { traceMesh, type TracedMesh } from "@inmesh/core/traces";
