/** Types of sdk.cjs. */
/** What is used of it: its own types would be those of its ESM half. */
export interface Sdk {
  readonly NodeSDK: new (options: {
    readonly metricReaders: readonly unknown[];
    readonly instrumentations: readonly never[];
  }) => { start(): void; shutdown(): Promise<void> };
}
export declare function loadApi(): typeof import("@opentelemetry/api");
export declare function loadTraces(): typeof import("@inmesh/core/traces");
export declare function loadSdk(): Sdk;
export declare function loadOfSdk(name: string): unknown;
