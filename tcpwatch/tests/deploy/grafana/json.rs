//! A dashboard as Grafana reads it.

use serde_json::{Value, json};

use super::board::{Board, Row, Variable};
use super::panel::{Limits, Panel, View};
use super::table;
use crate::alerts::link;

/// What Grafana 10.0 writes; newer ones bring it up to date when they read it.
const SCHEMA: u32 = 38;
/// Panels are as this Grafana has them.
const PLUGINS: &str = "10.0.0";
const COLUMNS: u32 = 24;

pub fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

pub fn dashboard(board: &Board) -> Value {
    let variables = board.variables.iter().map(variable);
    json!({
        "uid": board.uid(),
        "title": format!("tcpwatch / {}", board.title),
        "description": format!(
            "{} Made by the test target deploy of tcpwatch: change tcpwatch/tests/deploy/grafana, not this file.",
            board.answers
        ),
        "tags": ["tcpwatch", "tcp", "network"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "fiscalYearStartMonth": 0,
        "liveNow": false,
        "weekStart": "",
        "timepicker": {},
        "links": [
            {
                "type": "dashboards", "title": "tcpwatch", "tags": ["tcpwatch"], "asDropdown": false,
                "icon": "external link", "includeVars": true, "keepTime": true, "targetBlank": false,
                "tooltip": "The other dashboards, with what is chosen here", "url": "",
            },
            {
                "type": "link", "title": "Runbooks", "tags": [], "asDropdown": false, "icon": "doc",
                "includeVars": false, "keepTime": false, "targetBlank": true,
                "tooltip": "What each alert means and what to do", "url": link("docs/alerting.md"),
            },
        ],
        "annotations": {"list": [builtin(), findings()]},
        "templating": {"list": std::iter::once(choice_of_source()).chain(variables).collect::<Vec<_>>()},
        "panels": rows(&board.rows),
    })
}

/// Annotations that people make by hand.
fn builtin() -> Value {
    json!({
        "builtIn": 1, "datasource": {"type": "grafana", "uid": "-- Grafana --"}, "enable": true, "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
    })
}

pub const FINDINGS: &str = "sum by (instance, kind, severity, process, listen_addr) (tcpwatch_finding_active{instance=~\"$instance\"}) > 0";

/// A stripe from the opening to the closing of each finding.
fn findings() -> Value {
    json!({
        "datasource": datasource(), "enable": true, "hide": false, "iconColor": "orange", "name": "Findings",
        "target": {"refId": "findings", "datasource": datasource(), "expr": FINDINGS, "interval": "30s"},
        "titleFormat": "{{severity}}: {{kind}}",
        "textFormat": "{{process}} {{listen_addr}} on {{instance}}",
        "tagKeys": "kind,severity",
        "useValueForTime": false,
    })
}

fn choice_of_source() -> Value {
    json!({
        "type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "regex": "",
        "refresh": 1, "hide": 0, "multi": false, "includeAll": false, "options": [], "skipUrlSync": false,
    })
}

fn variable(variable: &Variable) -> Value {
    let query = format!("label_values({}, {})", variable.series, variable.name);
    json!({
        "type": "query", "name": variable.name, "label": variable.title, "datasource": datasource(),
        "definition": query,
        "query": {"query": query, "refId": "StandardVariableQuery"},
        // At every change of the time range: what is gone shall not be offered.
        "refresh": 2,
        "sort": 1, "regex": "", "hide": 0, "multi": true, "includeAll": true, "options": [], "skipUrlSync": false,
        // It matches series without the label, too.
        "allValue": ".*",
        "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
    })
}

/// Rows from top to bottom, their panels from left to right.
fn rows(rows: &[Row]) -> Vec<Value> {
    let (mut made, mut id, mut top) = (Vec::new(), 0, 0);
    let mut next = || {
        id += 1;
        id
    };
    for row in rows {
        let number = next();
        let mut panels = Vec::new();
        let (mut left, mut height) = (0, 0);
        let heading = top;
        top += 1;
        for shown in &row.panels {
            if left + shown.width > COLUMNS {
                top += height;
                (left, height) = (0, 0);
            }
            panels.push(panel(shown, next(), (left, top)));
            left += shown.width;
            height = height.max(shown.height);
        }
        top += height;
        let inside = if row.collapsed { std::mem::take(&mut panels) } else { Vec::new() };
        if row.collapsed {
            top = heading + 1;
        }
        made.push(json!({
            "id": number, "type": "row", "title": row.title, "collapsed": row.collapsed, "panels": inside,
            "gridPos": {"x": 0, "y": heading, "w": COLUMNS, "h": 1},
        }));
        made.extend(panels);
    }
    made
}

fn panel(panel: &Panel, id: u32, (x, y): (u32, u32)) -> Value {
    let place = json!({"x": x, "y": y, "w": panel.width, "h": panel.height});
    let links: Vec<_> = panel.page.iter().map(|page| about(page)).collect();
    let mut made = json!({
        "id": id, "type": kind(panel.view), "title": panel.title, "description": panel.description(),
        "gridPos": place, "pluginVersion": PLUGINS, "links": links,
        "options": options(panel.view), "fieldConfig": {"defaults": defaults(panel), "overrides": []},
    });
    if panel.view == View::Text {
        made["options"]["content"] = json!(panel.text);
        return made;
    }
    made["datasource"] = datasource();
    made["targets"] =
        panel.queries.iter().zip('A'..='Z').map(|(query, letter)| target(panel, query, letter)).collect();
    if panel.view == View::Table {
        made["transformations"] = table::transformations(panel);
        made["fieldConfig"]["overrides"] = table::overrides(panel);
    }
    made
}

fn about(page: &str) -> Value {
    json!({
        "type": "link", "title": "What it means and what to do", "url": page, "targetBlank": true,
        "asDropdown": false, "icon": "doc", "includeVars": false, "keepTime": false, "tags": [], "tooltip": "",
    })
}

const fn kind(view: View) -> &'static str {
    match view {
        View::Stat => "stat",
        View::Lines | View::Stacked => "timeseries",
        View::Heatmap => "heatmap",
        View::Bars => "bargauge",
        View::Table => "table",
        View::Text => "text",
    }
}

fn target(panel: &Panel, query: &super::panel::Query, letter: char) -> Value {
    // A number and a table tell of now.
    let instant = matches!(panel.view, View::Table | View::Bars | View::Stat);
    let format = match panel.view {
        View::Table => "table",
        View::Heatmap => "heatmap",
        _ => "time_series",
    };
    json!({
        "refId": letter.to_string(), "datasource": datasource(), "editorMode": "code", "expr": query.expr,
        "legendFormat": if query.legend.is_empty() { "__auto" } else { &query.legend },
        "format": format, "instant": instant, "range": !instant,
    })
}

fn options(view: View) -> Value {
    let last = json!({"calcs": ["lastNotNull"], "fields": "", "values": false});
    match view {
        View::Stat => json!({
            "colorMode": "background", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
            "textMode": "auto", "reduceOptions": last,
        }),
        View::Lines | View::Stacked => json!({
            "legend": {
                "calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "bottom", "showLegend": true,
                "sortBy": "Last *", "sortDesc": true,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }),
        View::Heatmap => json!({
            "calculate": false, "cellGap": 1,
            "color": {
                "mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "exponent": 0.5, "scale": "exponential",
                "reverse": false, "steps": 64,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"}, "filterValues": {"le": 1e-9},
            "legend": {"show": true}, "rowsFrame": {"layout": "auto"}, "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": false}, "yAxis": {"axisPlacement": "left", "reverse": false, "unit": "s"},
        }),
        View::Bars => json!({
            "displayMode": "basic", "orientation": "horizontal", "reduceOptions": last, "showUnfilled": true,
            "valueMode": "color", "minVizHeight": 10, "minVizWidth": 0,
        }),
        View::Table => json!({"cellHeight": "sm", "showHeader": true}),
        View::Text => json!({"mode": "markdown"}),
    }
}

pub fn thresholds(limits: Option<Limits>) -> Value {
    let mut steps = vec![json!({"color": "green", "value": null})];
    if let Some(Limits { odd, bad }) = limits {
        steps.extend(odd.map(|odd| json!({"color": "orange", "value": odd})));
        steps.push(json!({"color": "red", "value": bad}));
    }
    json!({"mode": "absolute", "steps": steps})
}

fn defaults(panel: &Panel) -> Value {
    let by_limit = matches!(panel.view, View::Stat | View::Bars);
    let mut made = json!({
        "unit": panel.unit.id(), "mappings": [], "thresholds": thresholds(panel.limits),
        "color": {"mode": if by_limit { "thresholds" } else { "palette-classic" }},
    });
    match panel.view {
        View::Lines | View::Stacked => {
            made["min"] = json!(0);
            made["custom"] = lines(panel);
        }
        View::Heatmap => {
            made["custom"] = json!({
                "hideFrom": {"legend": false, "tooltip": false, "viz": false}, "scaleDistribution": {"type": "linear"},
            });
        }
        View::Bars => made["min"] = json!(0),
        View::Table => {
            made["custom"] = json!({"align": "auto", "cellOptions": {"type": "auto"}, "filterable": true, "inspect": false});
        }
        View::Stat | View::Text => {}
    }
    made
}

fn lines(panel: &Panel) -> Value {
    let stacked = panel.view == View::Stacked;
    json!({
        "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 1, "fillOpacity": if stacked { 30 } else { 5 },
        "gradientMode": "none", "pointSize": 4, "showPoints": "auto", "spanNulls": false, "insertNulls": false,
        "axisPlacement": "auto", "axisLabel": "", "axisColorMode": "text", "axisBorderShow": false,
        "axisCenteredZero": false, "scaleDistribution": {"type": "linear"},
        "hideFrom": {"legend": false, "tooltip": false, "viz": false},
        "stacking": {"group": "A", "mode": if stacked { "normal" } else { "none" }},
        "thresholdsStyle": {"mode": if panel.limits.is_some() { "dashed" } else { "off" }},
    })
}
