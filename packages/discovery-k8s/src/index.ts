/** `@inmesh/discovery-k8s`: the endpoints of a Kubernetes Service, from its EndpointSlices. */
export { kubernetes, type KubernetesOptions, type KubernetesService } from "./kind.ts";
