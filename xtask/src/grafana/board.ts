// What a dashboard of this project has to fit: Grafana's own types, for each kind of panel those of its options.
// Where they are open (any record will do), this says what Grafana's Prometheus data source reads.
import type { AnnotationQuery, Dashboard, FieldConfig, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type * as bargauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as heatmap from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type * as stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as table from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type * as text from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type * as timeseries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** The same with texts where there are enumerations, as JSON has it. */
type Plain<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends Array<infer One> ? Array<Plain<One>>
  : T extends object ? { [Key in keyof T]: Plain<T[Key]> }
  : T;

/** What a query of a Prometheus is told. */
interface Target {
  refId: string;
  datasource: { type: 'prometheus'; uid: '${datasource}' };
  editorMode: 'code';
  expr: string;
  legendFormat: string;
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  range: boolean;
}

/** A panel whose options are those of its kind. Not all of them: older Grafanas have fewer. */
type Of<Kind extends string, Options, Custom> = Plain<Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets' | 'transformations'>> & {
  type: Kind;
  pluginVersion: string;
  options: Partial<Plain<Options>>;
  fieldConfig: {
    defaults: Plain<Omit<FieldConfig, 'custom'>> & { custom?: Partial<Plain<Custom>> };
    overrides: Array<{ matcher: { id: 'byName'; options: string }; properties: Property[] }>;
  };
  targets?: Target[];
  transformations?: Array<
    | { id: 'merge'; options: Record<string, never> }
    | {
      id: 'organize';
      options: {
        excludeByName: Record<string, boolean>;
        indexByName: Record<string, number>;
        renameByName: Record<string, string>;
      };
    }
  >;
};

type Fields = Plain<Required<Omit<FieldConfig, 'custom'>>>;

/** What a column of a table is told beside the rest. */
type Property =
  | { id: 'unit'; value: Fields['unit'] }
  | { id: 'links'; value: Array<{ title: string; url: string; targetBlank: boolean }> }
  | { id: 'mappings'; value: Fields['mappings'] }
  | { id: 'thresholds'; value: Fields['thresholds'] }
  | { id: 'color'; value: Fields['color'] }
  | { id: 'custom.cellOptions'; value: Plain<table.FieldConfig['cellOptions']> };

type Shown =
  | Of<'stat', stat.Options, object>
  | Of<'timeseries', timeseries.Options, timeseries.FieldConfig>
  | Of<'bargauge', bargauge.Options, object>
  | Of<'heatmap', heatmap.Options, heatmap.FieldConfig>
  | Of<'table', table.Options, table.FieldConfig>
  | Of<'text', text.Options, object>;

type Row = Omit<RowPanel, 'panels'> & { panels: Shown[] };

/** The data source's own words for annotations come on top. */
type Annotation = Plain<Omit<AnnotationQuery, 'target'>> & {
  target?: { refId: string; datasource: Target['datasource']; expr: string; interval: string };
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  useValueForTime?: boolean;
};

/** What Grafana shows in its list of variables comes on top. */
type Variable = Plain<VariableModel> & { definition?: string };

export type Board = Plain<Omit<Dashboard, 'panels' | 'annotations' | 'templating'>> & {
  uid: string;
  panels: Array<Shown | Row>;
  annotations: { list: Annotation[] };
  templating: { list: Variable[] };
};
