/**
 * What the dashboards are made of: panels written as plain data, and one function that makes the JSON of
 * Grafana from them. Ids stand with each panel, so that a new one changes no other: links and annotations of
 * people who use the dashboards keep their place.
 */
import { BigValueColorMode, BigValueGraphMode } from "@grafana/grafana-foundation-sdk/common";
import * as common from "@grafana/grafana-foundation-sdk/common";
import {
  AnnotationQueryBuilder,
  type Dashboard,
  DashboardBuilder,
  DashboardCursorSync,
  DashboardLinkBuilder,
  DashboardLinkType,
  DatasourceVariableBuilder,
  FieldColorBuilder,
  FieldColorModeId,
  type GridPos,
  type Panel,
  QueryVariableBuilder,
  RowBuilder,
  type Threshold,
  ThresholdsConfigBuilder,
  ThresholdsMode,
  VariableRefresh,
  VariableSort,
} from "@grafana/grafana-foundation-sdk/dashboard";
import {
  HeatmapColorMode,
  HeatmapColorOptionsBuilder,
  HeatmapColorScale,
  PanelBuilder as HeatmapBuilder,
  YAxisConfigBuilder,
} from "@grafana/grafana-foundation-sdk/heatmap";
import { DataqueryBuilder, PromQueryFormat } from "@grafana/grafana-foundation-sdk/prometheus";
import { PanelBuilder as StatBuilder } from "@grafana/grafana-foundation-sdk/stat";
import { PanelBuilder as StateTimelineBuilder } from "@grafana/grafana-foundation-sdk/statetimeline";
import { PanelBuilder as TableBuilder } from "@grafana/grafana-foundation-sdk/table";
import { PanelBuilder as TimeseriesBuilder } from "@grafana/grafana-foundation-sdk/timeseries";

/** A unit of Grafana; the second part of its documentation's list, such as `reqps` for calls per second. */
type Unit =
  | "percentunit"
  | "reqps"
  | "ops"
  | "s"
  | "Bps"
  | "short"
  | "none"
  | "bool"
  | "dateTimeAsIso";

export interface Query {
  readonly expr: string;
  /** How a series is named, such as `{{inmesh_service}}`; in a table the head of the column. */
  readonly legend: string;
  /** Of a column of a table, where it is not that of the panel. */
  readonly unit?: Unit;
}

export interface PanelSpec {
  /** Never changed and never used again, within its dashboard. */
  readonly id: number;
  readonly title: string;
  /** What is shown, what is normal, and what to look at when it is not. */
  readonly description: string;
  /** Default `lines`. `number` shows the last value, `table` one row for each set of labels. */
  readonly kind?: "lines" | "number" | "table" | "heat" | "states";
  readonly unit: Unit;
  /** In 24 columns. Default 8, of a number 4. */
  readonly width?: number;
  readonly queries: readonly Query[];
  /**
   * Where it becomes worth a look, and where it is bad. A second value below the first means that low is
   * bad. Without it nothing of it is bad by itself.
   */
  readonly limits?: readonly [warn: number, bad: number];
  /** Asks Prometheus for exemplars, which lead from a slow call to its trace. */
  readonly exemplars?: boolean;
}

export interface RowSpec {
  readonly title: string;
  readonly panels: readonly PanelSpec[];
}

export interface DashboardSpec {
  readonly uid: string;
  readonly title: string;
  readonly description: string;
  /** Whether panels choose by `$inmesh_route`. */
  readonly byRoute?: boolean;
  readonly rows: readonly RowSpec[];
}

export const OUT = `inmesh_direction="outbound"`;
export const IN = `inmesh_direction="inbound"`;
export const SERVICE = `inmesh_service=~"$inmesh_service"`;
export const ROUTE = `inmesh_route=~"$inmesh_route"`;
/** What counts against a service: the caller's own wish to stop does not. */
export const BAD = `inmesh_outcome!~"success|abandoned"`;
export const COUNTED = `inmesh_outcome!="abandoned"`;

const selector = (metric: string, matchers: readonly string[]): string =>
  matchers.length === 0 ? metric : `${metric}{${matchers.join(", ")}}`;

/** Per second, summed by labels. */
export function rate(metric: string, by: string, ...matchers: string[]): string {
  const inner = `rate(${selector(metric, matchers)}[$__rate_interval])`;
  return by === "" ? `sum(${inner})` : `sum by (${by}) (${inner})`;
}

/** `part / whole`, 0 where there is a whole and no part yet: a ratio that is absent looks like one that is lost. */
export function share(part: string, whole: string): string {
  return `(${part} or 0 * ${whole}) / (${whole} > 0)`;
}

/** The share of calls that succeeded. */
export function success(by: string, ...matchers: string[]): string {
  const bad = rate("inmesh_calls_total", by, ...matchers, BAD);
  const all = rate("inmesh_calls_total", by, ...matchers, COUNTED);
  return `1 - ${share(bad, all)}`;
}

export function quantile(q: number, histogram: string, by: string, ...matchers: string[]): string {
  const labels = by === "" ? "le" : `le, ${by}`;
  return `histogram_quantile(${q}, ${rate(`${histogram}_bucket`, labels, ...matchers)})`;
}

/**
 * How much a counter of rare events grew. A series that begins with 1 has no increase for Prometheus, because
 * there was no 0 before it: what did not exist at the beginning of the range counts as a whole.
 */
export function grown(metric: string, range: string, by: string, ...matchers: string[]): string {
  const one = selector(metric, matchers);
  return `sum by (${by}) ((${one} unless ${one} offset ${range}) or increase(${one}[${range}]))`;
}

const DATASOURCE = { type: "prometheus", uid: "${datasource}" };
const HEIGHT = { lines: 8, number: 4, table: 8, heat: 8, states: 8 } as const;
const WIDTH = { lines: 8, number: 4, table: 12, heat: 8, states: 12 } as const;

const COLUMNS = 24;

const sizeOf = ({ kind = "lines", width }: PanelSpec): { w: number; h: number } => ({
  w: width ?? WIDTH[kind],
  h: HEIGHT[kind],
});

type Builder =
  | TimeseriesBuilder
  | StatBuilder
  | TableBuilder
  | HeatmapBuilder
  | StateTimelineBuilder;

function thresholdsOf(limits: PanelSpec["limits"]): Threshold[] {
  if (limits === undefined) return [{ value: null, color: "green" }];
  const [warn, bad] = limits;
  const warnColor = "orange";
  if (bad >= warn) {
    const steps: Threshold[] = [{ value: null, color: "green" }];
    if (warn !== bad) steps.push({ value: warn, color: warnColor });
    return [...steps, { value: bad, color: "red" }];
  }
  return [
    { value: null, color: "red" },
    { value: bad, color: warnColor },
    { value: warn, color: "green" },
  ];
}

function lines(spec: PanelSpec): TimeseriesBuilder {
  const style =
    spec.limits === undefined
      ? common.GraphThresholdsStyleMode.Off
      : common.GraphThresholdsStyleMode.Dashed;
  const builder = new TimeseriesBuilder()
    .lineWidth(1)
    .fillOpacity(8)
    .showPoints(common.VisibilityMode.Never)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true)
        .calcs([]),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    )
    .thresholdsStyle(new common.GraphThresholdsStyleConfigBuilder().mode(style));
  return spec.unit === "percentunit" ? builder.max(1) : builder.min(0);
}

function tableOf(spec: PanelSpec): TableBuilder {
  const columns = spec.queries.map(({ legend }, i) => [`Value #${refOf(i)}`, legend]);
  // A single query has no letter in the name of its value.
  if (columns.length === 1) columns[0]![0] = "Value";
  const builder = new TableBuilder()
    .withTransformation({ id: "merge", options: {} })
    .withTransformation({
      id: "organize",
      options: { excludeByName: { Time: true }, renameByName: Object.fromEntries(columns) },
    });
  for (const { legend, unit } of spec.queries) {
    if (unit !== undefined) builder.overrideByName(legend, [{ id: "unit", value: unit }]);
  }
  return builder;
}

function builderOf(spec: PanelSpec): Builder {
  switch (spec.kind ?? "lines") {
    case "number":
      return new StatBuilder()
        .colorMode(BigValueColorMode.Value)
        .graphMode(BigValueGraphMode.Area)
        .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(["lastNotNull"]));
    case "table":
      return tableOf(spec);
    case "heat":
      return new HeatmapBuilder()
        .calculate(false)
        .color(
          new HeatmapColorOptionsBuilder()
            .mode(HeatmapColorMode.Scheme)
            .scheme("Blues")
            .scale(HeatmapColorScale.Exponential)
            .steps(64),
        )
        .yAxis(new YAxisConfigBuilder().unit(spec.unit));
    case "states":
      return new StateTimelineBuilder()
        .mergeValues(true)
        .fillOpacity(70)
        .rowHeight(0.9)
        .colorScheme(new FieldColorBuilder().mode(FieldColorModeId.Thresholds));
    case "lines":
      return lines(spec);
  }
}

const refOf = (i: number): string => String.fromCodePoint("A".codePointAt(0)! + i);

function queryOf(spec: PanelSpec, { expr, legend }: Query, i: number): DataqueryBuilder {
  const query = new DataqueryBuilder().refId(refOf(i)).expr(expr).datasource(DATASOURCE);
  switch (spec.kind ?? "lines") {
    case "table":
      return query.instant().format(PromQueryFormat.Table);
    case "heat":
      return query.range().format(PromQueryFormat.Heatmap).legendFormat("{{le}}");
    default:
      query.range().legendFormat(legend);
      return spec.exemplars === true ? query.exemplar(true) : query;
  }
}

function panelOf(spec: PanelSpec, place: GridPos): Builder {
  return builderOf(spec)
    .id(spec.id)
    .title(spec.title)
    .description(spec.description)
    .unit(spec.unit)
    .datasource(DATASOURCE)
    .gridPos(place)
    .thresholds(
      new ThresholdsConfigBuilder().mode(ThresholdsMode.Absolute).steps(thresholdsOf(spec.limits)),
    )
    .targets(spec.queries.map((query, i) => queryOf(spec, query, i)));
}

function variable(name: string, label: string, definition: string): QueryVariableBuilder {
  return new QueryVariableBuilder(name)
    .label(label)
    .datasource(DATASOURCE)
    .query({ query: definition, refId: "StandardVariableQuery" })
    .definition(definition)
    .refresh(VariableRefresh.OnTimeRangeChanged)
    .sort(VariableSort.AlphabeticalAsc)
    .multi(true)
    .includeAll(true)
    .allValue(".*")
    .current({ selected: true, text: ["All"], value: ["$__all"] });
}

/** What changed, as marks on every panel of every dashboard. */
const MARKS: readonly { name: string; color: string; expr: string; title: string; text: string }[] =
  [
    {
      name: "Configuration changes",
      color: "blue",
      expr: "sum by (instance) (changes(inmesh_config_generation[1m])) > 0",
      title: "Configuration changed",
      text: "{{instance}}",
    },
    {
      name: "Breaker transitions",
      color: "red",
      expr: `${grown("inmesh_breaker_transitions_total", "1m", "inmesh_service, inmesh_state, inmesh_trigger", SERVICE)} > 0`,
      title: "A breaker is {{inmesh_state}}",
      text: "{{inmesh_service}}, because of {{inmesh_trigger}}",
    },
  ];

/** Without the place in a menu that the builders give by default: a mark that is hidden explains nothing. */
const inSight = <T extends { placement?: unknown }>(builder: { build(): T }): { build(): T } => ({
  build() {
    const built = builder.build();
    delete built.placement;
    return built;
  },
});

export function dashboard(spec: DashboardSpec): Dashboard {
  const builder = new DashboardBuilder(spec.title)
    .uid(spec.uid)
    .description(spec.description)
    .tags(["inmesh"])
    .timezone("browser")
    .time({ from: "now-1h", to: "now" })
    .refresh("30s")
    .editable()
    .tooltip(DashboardCursorSync.Crosshair)
    .link(
      inSight(
        new DashboardLinkBuilder("inmesh")
          .type(DashboardLinkType.Dashboards)
          .tags(["inmesh"])
          .asDropdown(true)
          .includeVars(true)
          .keepTime(true),
      ),
    )
    .withVariable(
      new DatasourceVariableBuilder("datasource").label("Prometheus").type("prometheus"),
    )
    .withVariable(
      variable("inmesh_service", "Service", "label_values(inmesh_calls_total, inmesh_service)"),
    );
  if (spec.byRoute === true) {
    const routes = `label_values(inmesh_calls_total{${SERVICE}}, inmesh_route)`;
    builder.withVariable(variable("inmesh_route", "Route", routes));
  }
  for (const { name, color, expr, title, text } of MARKS) {
    const target = new DataqueryBuilder().refId("Anno").expr(expr).range().datasource(DATASOURCE);
    builder.annotation(
      inSight(
        new AnnotationQueryBuilder()
          .name(name)
          .datasource(DATASOURCE)
          .enable(true)
          .iconColor(color)
          .target(target)
          .expr(expr)
          .step("1m")
          .titleFormat(title)
          .textFormat(text),
      ),
    );
  }
  let y = 0;
  for (const [i, { title, panels }] of spec.rows.entries()) {
    // Rows have ids of their own, far from those of panels.
    builder.withRow(new RowBuilder(title).id(1000 + i).gridPos({ x: 0, y, w: COLUMNS, h: 1 }));
    y++;
    let x = 0;
    let height = 0;
    for (const panel of panels) {
      const { w, h } = sizeOf(panel);
      if (x + w > COLUMNS) {
        x = 0;
        y += height;
        height = 0;
      }
      builder.withPanel(panelOf(panel, { x, y, w, h }));
      x += w;
      height = Math.max(height, h);
    }
    y += height;
  }
  return builder.build();
}

/** One line for each panel: a change of one is a change of one line, and the file stays small. */
export function print({ panels = [], title, uid, ...rest }: Dashboard): string {
  const body = Object.entries({ title, uid, ...rest }).map(
    ([key, value]) => `"${key}": ${JSON.stringify(value)}`,
  );
  const each = (panels as Panel[]).map((panel) => `  ${JSON.stringify(panel)}`);
  return `{\n${body.join(",\n")},\n"panels": [\n${each.join(",\n")}\n]\n}\n`;
}
