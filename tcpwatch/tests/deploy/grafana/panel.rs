//! One panel as it is described: what it shows, of which expressions, and what is worth a worry.

/// How it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// One number, coloured by its thresholds.
    Stat,
    Lines,
    /// Areas on top of each other: only where the sum means something.
    Stacked,
    /// The buckets of a histogram over time.
    Heatmap,
    /// Bars of what is now.
    Bars,
    Table,
    /// Words.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Count,
    PerSecond,
    SegmentsPerSecond,
    Seconds,
    Bytes,
    /// Of one.
    Share,
}

impl Unit {
    /// Grafana's name of it.
    pub const fn id(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::PerSecond => "cps",
            Self::SegmentsPerSecond => "pps",
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::Share => "percentunit",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Query {
    pub expr: String,
    /// With labels as `{{label}}`.
    pub legend: String,
}

/// A column of a table that is the value of a query.
#[derive(Clone, Debug)]
pub struct Column {
    pub title: &'static str,
    pub unit: Unit,
    /// Coloured from there on.
    pub bad: Option<f64>,
}

/// From this value on something is odd, from that one bad.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    pub odd: Option<f64>,
    pub bad: f64,
}

#[derive(Clone, Debug)]
pub struct Panel {
    pub title: &'static str,
    /// What it means, in plain words.
    pub shows: &'static str,
    /// When to worry; empty where there is no such thing.
    pub worry: &'static str,
    pub view: View,
    pub unit: Unit,
    pub queries: Vec<Query>,
    /// One for each query of a table.
    pub columns: Vec<Column>,
    pub limits: Option<Limits>,
    /// A page of the project about it.
    pub page: Option<String>,
    /// In the grid of 24 columns.
    pub width: u32,
    pub height: u32,
    /// What a panel of words says, in Markdown.
    pub text: String,
}

impl Panel {
    fn new(view: View, title: &'static str, shows: &'static str) -> Self {
        let (width, height) = match view {
            View::Stat => (4, 4),
            View::Lines | View::Stacked | View::Heatmap | View::Bars => (12, 8),
            View::Table => (24, 9),
            View::Text => (24, 5),
        };
        Self {
            title,
            shows,
            worry: "",
            view,
            unit: Unit::Count,
            queries: Vec::new(),
            columns: Vec::new(),
            limits: None,
            page: None,
            width,
            height,
            text: String::new(),
        }
    }

    pub fn stat(title: &'static str, shows: &'static str, expr: &str) -> Self {
        Self::new(View::Stat, title, shows).of(expr, "")
    }

    pub fn lines(title: &'static str, shows: &'static str) -> Self {
        Self::new(View::Lines, title, shows)
    }

    pub fn stacked(title: &'static str, shows: &'static str) -> Self {
        Self::new(View::Stacked, title, shows)
    }

    pub fn heatmap(title: &'static str, shows: &'static str) -> Self {
        Self::new(View::Heatmap, title, shows).unit(Unit::Seconds)
    }

    pub fn bars(title: &'static str, shows: &'static str) -> Self {
        Self::new(View::Bars, title, shows)
    }

    pub fn table(title: &'static str, shows: &'static str) -> Self {
        Self::new(View::Table, title, shows)
    }

    pub fn text(title: &'static str, shows: &'static str, text: String) -> Self {
        Self { text, ..Self::new(View::Text, title, shows) }
    }

    pub fn worry(self, worry: &'static str) -> Self {
        Self { worry, ..self }
    }

    pub fn unit(self, unit: Unit) -> Self {
        Self { unit, ..self }
    }

    /// One more expression.
    pub fn of(mut self, expr: &str, legend: &str) -> Self {
        self.queries.push(Query { expr: expr.to_owned(), legend: legend.to_owned() });
        self
    }

    /// One more expression of a table, and the column that its value is in.
    pub fn column(mut self, title: &'static str, unit: Unit, bad: Option<f64>, expr: &str) -> Self {
        self.columns.push(Column { title, unit, bad });
        self.of(expr, "")
    }

    pub fn bad(self, bad: f64) -> Self {
        Self { limits: Some(Limits { odd: None, bad }), ..self }
    }

    pub fn odd(self, odd: f64, bad: f64) -> Self {
        Self { limits: Some(Limits { odd: Some(odd), bad }), ..self }
    }

    pub fn page(self, page: String) -> Self {
        Self { page: Some(page), ..self }
    }

    pub fn size(self, width: u32, height: u32) -> Self {
        Self { width, height, ..self }
    }

    /// What Grafana shows at the panel's corner.
    pub fn description(&self) -> String {
        if self.worry.is_empty() {
            self.shows.to_owned()
        } else {
            format!("{}\n\n**Worry:** {}", self.shows, self.worry)
        }
    }
}
