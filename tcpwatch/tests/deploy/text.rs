//! Texts of alerts: as Prometheus' templates, and as they read once the labels are known.

/// A part of a text.
#[derive(Clone, Debug)]
pub enum Piece {
    Text(String),
    /// The value of a label that is always there.
    Label(&'static str),
    /// What stands before the value of a label, and that value, where it is not empty.
    With(&'static str, String),
    /// The value of the expression, through a filter of the templates.
    Value(&'static str),
}

/// One annotation.
#[derive(Clone, Debug, Default)]
pub struct Text(pub Vec<Piece>);

impl Text {
    pub fn new(text: impl Into<String>) -> Self {
        Self(Vec::new()).and(text)
    }

    pub fn and(mut self, text: impl Into<String>) -> Self {
        self.0.push(Piece::Text(text.into()));
        self
    }

    pub fn label(mut self, label: &'static str) -> Self {
        self.0.push(Piece::Label(label));
        self
    }

    pub fn with(mut self, label: &'static str, before: &str) -> Self {
        self.0.push(Piece::With(label, before.to_owned()));
        self
    }

    pub fn value(mut self, filter: &'static str) -> Self {
        self.0.push(Piece::Value(filter));
        self
    }

    pub fn labels(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Label(label) | Piece::With(label, _) => Some(*label),
            Piece::Text(_) | Piece::Value(_) => None,
        })
    }

    /// As Prometheus is told.
    pub fn template(&self) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Label(label) => format!("{{{{ $labels.{label} }}}}"),
            Piece::With(label, before) => {
                format!("{{{{ with $labels.{label} }}}}{before}{{{{ . }}}}{{{{ end }}}}")
            }
            Piece::Value(filter) => format!("{{{{ $value{filter} }}}}"),
        };
        self.0.iter().map(piece).collect()
    }

    /// As people read it.
    pub fn shown(&self, labels: &[(String, String)], value: &str) -> String {
        let of = |label: &str| {
            let found = labels.iter().find(|(name, _)| name == label);
            found.map_or("", |(_, value)| value.as_str())
        };
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Label(label) => of(label).to_owned(),
            Piece::With(label, _) if of(label).is_empty() => String::new(),
            Piece::With(label, before) => format!("{before}{}", of(label)),
            Piece::Value(_) => value.to_owned(),
        };
        self.0.iter().map(piece).collect()
    }
}

#[test]
fn a_text_is_a_template_and_what_becomes_of_it() {
    let text = Text::new("a").with("process", " of ").and(" on ").label("instance").and(": ").value("");
    assert_eq!(
        text.template(),
        "a{{ with $labels.process }} of {{ . }}{{ end }} on {{ $labels.instance }}: {{ $value }}"
    );
    let labels = |process: &str| {
        [("process", process), ("instance", "h")].map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    assert_eq!(text.shown(&labels("web"), "2"), "a of web on h: 2");
    assert_eq!(text.shown(&labels(""), "1"), "a on h: 1");
}
