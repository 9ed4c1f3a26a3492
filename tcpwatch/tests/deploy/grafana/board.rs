//! A dashboard: its variables, the filters that these make, and its panels in rows.

use super::panel::Panel;

/// A variable that viewers choose values of; nothing chosen is everything.
#[derive(Clone, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub title: &'static str,
    /// The series whose label it is, filtered by the variables before it.
    pub series: String,
}

/// Panels under a heading.
#[derive(Clone, Debug)]
pub struct Row {
    pub title: &'static str,
    pub panels: Vec<Panel>,
    pub collapsed: bool,
}

#[derive(Clone, Debug)]
pub struct Board {
    /// The file's name, and the end of its fixed address in Grafana.
    pub name: &'static str,
    pub title: &'static str,
    pub answers: &'static str,
    pub variables: Vec<Variable>,
    pub rows: Vec<Row>,
}

/// Series of the chosen hosts.
const HOST: &str = "instance=~\"$instance\"";

impl Board {
    pub fn new(name: &'static str, title: &'static str, answers: &'static str) -> Self {
        let host = Variable { name: "instance", title: "Host", series: "tcpwatch_build_info".into() };
        Self { name, title, answers, variables: vec![host], rows: Vec::new() }
    }

    /// One more variable: a label of a metric, among the series that the variables before it leave.
    pub fn choose(mut self, label: &'static str, title: &'static str, metric: &str) -> Self {
        let series = format!("{metric}{{{}}}", self.filter());
        self.variables.push(Variable { name: label, title, series });
        self
    }

    pub fn row(self, title: &'static str, panels: Vec<Panel>) -> Self {
        self.with(title, panels, false)
    }

    /// A row that is closed at first, so that its queries cost nothing.
    pub fn closed(self, title: &'static str, panels: Vec<Panel>) -> Self {
        self.with(title, panels, true)
    }

    fn with(mut self, title: &'static str, panels: Vec<Panel>, collapsed: bool) -> Self {
        let panels = panels.into_iter().map(|panel| self.filled(panel)).collect();
        self.rows.push(Row { title, panels, collapsed });
        self
    }

    /// Every variable as a filter.
    fn filter(&self) -> String {
        let one = |variable: &Variable| format!("{0}=~\"${0}\"", variable.name);
        self.variables.iter().map(one).collect::<Vec<_>>().join(",")
    }

    /// `HOST` stands for the filter by host, `ALL` for that by every variable.
    fn filled(&self, mut panel: Panel) -> Panel {
        for query in &mut panel.queries {
            query.expr = query.expr.replace("ALL", &self.filter()).replace("HOST", HOST);
        }
        panel
    }

    pub fn uid(&self) -> String {
        uid(self.name)
    }

    pub fn path(&self) -> String {
        format!("deploy/grafana/{}.json", self.name)
    }

    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.rows.iter().flat_map(|row| &row.panels)
    }
}

pub fn uid(name: &str) -> String {
    format!("tcpwatch-{name}")
}

/// Whose something is, as rows of tables and legends have it.
pub const OWNER: &str = "process, namespace, pod, container, workload";
