/** `@inmesh/discovery-k8s`: the endpoints of a Kubernetes Service, from its EndpointSlices. */
export { kubernetes, type KubernetesOptions } from "./kind.ts";
export type { KubernetesService } from "./source.ts";
