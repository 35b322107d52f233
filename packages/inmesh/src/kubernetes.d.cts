/** Types of kubernetes.cjs. */
import type { kubernetes } from "@inmesh/discovery-k8s";

export declare function loadKubernetes(): { readonly kubernetes: typeof kubernetes };
