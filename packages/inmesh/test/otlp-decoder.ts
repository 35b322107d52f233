/**
 * What an OTLP receiver reads of metrics, in protobuf: the fields of opentelemetry-proto 1.x that exporters of
 * metrics write, by their published numbers.
 */
import protobuf from "protobufjs";

const SCHEMA = `
syntax = "proto3";
message Request { repeated ResourceMetrics resourceMetrics = 1; }
message ResourceMetrics { Resource resource = 1; repeated ScopeMetrics scopeMetrics = 2; string schemaUrl = 3; }
message Resource { repeated KeyValue attributes = 1; uint32 droppedAttributesCount = 2; }
message ScopeMetrics { Scope scope = 1; repeated Metric metrics = 2; string schemaUrl = 3; }
message Scope { string name = 1; string version = 2; repeated KeyValue attributes = 3; }
message Metric {
  string name = 1; string description = 2; string unit = 3;
  oneof data { Gauge gauge = 5; Sum sum = 7; Histogram histogram = 9; }
}
message Gauge { repeated NumberPoint dataPoints = 1; }
message Sum { repeated NumberPoint dataPoints = 1; int32 aggregationTemporality = 2; bool isMonotonic = 3; }
message Histogram { repeated HistogramPoint dataPoints = 1; int32 aggregationTemporality = 2; }
message NumberPoint {
  repeated KeyValue attributes = 7; fixed64 startTimeUnixNano = 2; fixed64 timeUnixNano = 3;
  oneof value { double asDouble = 4; sfixed64 asInt = 6; }
}
message HistogramPoint {
  repeated KeyValue attributes = 9; fixed64 startTimeUnixNano = 2; fixed64 timeUnixNano = 3;
  fixed64 count = 4; optional double sum = 5; repeated fixed64 bucketCounts = 6;
  repeated double explicitBounds = 7; optional double min = 11; optional double max = 12;
}
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue {
  oneof value { string stringValue = 1; bool boolValue = 2; int64 intValue = 3; double doubleValue = 4; }
}
`;

export interface Point {
  readonly attributes: {
    readonly key: string;
    /** 64 bits: a text in protobuf, a number in JSON. */
    readonly value: { readonly stringValue?: string; readonly intValue?: number | string };
  }[];
  readonly startTimeUnixNano: string;
  readonly timeUnixNano: string;
  readonly asDouble?: number;
  readonly count?: number | string;
  readonly sum?: number;
  readonly bucketCounts?: (number | string)[];
  readonly explicitBounds?: number[];
}

interface Points {
  readonly dataPoints: Point[];
  readonly aggregationTemporality?: number;
  readonly isMonotonic?: boolean;
}

interface Metric {
  readonly name: string;
  readonly description: string;
  readonly unit: string;
  readonly gauge?: Points;
  readonly sum?: Points;
  readonly histogram?: Points;
}

export interface Request {
  readonly resourceMetrics: {
    readonly resource: { readonly attributes: { readonly key: string }[] };
    readonly scopeMetrics: {
      readonly scope: { readonly name: string };
      readonly metrics: Metric[];
    }[];
  }[];
}

const { root } = protobuf.parse(SCHEMA);

/** Throws an Error for what is no request. */
export function decodeMetrics(body: Uint8Array): Request {
  const type = root.lookupType("Request");
  return type.toObject(type.decode(body), { longs: String }) as Request;
}
