//! What is drawn on: text at places, in few styles.

use std::time::{Duration, SystemTime};

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

/// How text looks. What has to be seen is told by words as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Plain,
    Strong,
    Dim,
    Header,
    /// Of a pane, and of the one that has the focus.
    Title,
    Focus,
    /// The chosen row.
    Chosen,
    Critical,
    Warning,
    /// Something is wrong with what is shown.
    Alarm,
    Good,
}

impl Ink {
    fn style(self, colours: bool) -> Style {
        let style = Style::new();
        let coloured = |style: Style, colour| if colours { style.fg(colour) } else { style };
        match self {
            Self::Plain => style,
            Self::Strong => style.add_modifier(Modifier::BOLD),
            // Some terminals show faint text as nothing at all.
            Self::Dim => coloured(style, Color::DarkGray),
            Self::Header | Self::Focus | Self::Chosen => style.add_modifier(Modifier::REVERSED),
            Self::Title => coloured(style, Color::Cyan).add_modifier(Modifier::BOLD),
            Self::Critical => coloured(style, Color::Red).add_modifier(Modifier::BOLD),
            Self::Warning => coloured(style, Color::Yellow).add_modifier(Modifier::BOLD),
            Self::Alarm => coloured(style, Color::Red).add_modifier(Modifier::BOLD | Modifier::REVERSED),
            Self::Good => coloured(style, Color::Green),
        }
    }
}

pub(super) struct Paper<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    colours: bool,
}

impl<'a> Paper<'a> {
    pub(super) fn new(buffer: &'a mut Buffer, area: Rect, colours: bool) -> Self {
        Self { buffer, area, colours }
    }

    pub(super) fn width(&self) -> u16 {
        self.area.width
    }

    pub(super) fn height(&self) -> u16 {
        self.area.height
    }

    /// Text from a place on; what does not fit is not shown.
    pub(super) fn put(&mut self, x: u16, y: u16, text: &str, ink: Ink) {
        if x < self.area.width && y < self.area.height {
            let room = usize::from(self.area.width - x);
            let style = ink.style(self.colours);
            self.buffer.set_stringn(self.area.x + x, self.area.y + y, text, room, style);
        }
    }

    /// A row in another style, whatever it says.
    pub(super) fn fill(&mut self, x: u16, y: u16, width: u16, ink: Ink) {
        let row = Rect { x: self.area.x + x, y: self.area.y + y, width, height: 1 };
        self.buffer.set_style(row.intersection(self.area), ink.style(self.colours));
    }

    /// The heading of a pane, over all of its width.
    pub(super) fn title(&mut self, area: Rect, text: &str, ink: Ink) {
        let width = usize::from(area.width);
        let mut line = fit(text, width);
        line.push(' ');
        let line: String = line.chars().chain(std::iter::repeat('-')).take(width).collect();
        self.put(area.x, area.y, &line, ink);
    }
}

/// So much of a text as there is room for; `~` says that there is more.
pub(super) fn fit(text: &str, room: usize) -> String {
    if text.chars().count() <= room {
        return text.into();
    }
    let mut cut: String = text.chars().take(room.saturating_sub(1)).collect();
    if room > 0 {
        cut.push('~');
    }
    cut
}

/// Text in exactly so many columns.
pub(super) fn left(text: &str, width: usize) -> String {
    format!("{:<width$}", fit(text, width))
}

/// An address in exactly so many columns; of a long one the port can always be read.
pub(super) fn place(address: &str, width: usize) -> String {
    match address.rsplit_once("]:") {
        Some((ip, port)) if address.chars().count() > width => {
            format!("{}]:{port}", fit(ip, width.saturating_sub(port.len() + 2)))
        }
        _ => left(address, width),
    }
}

pub(super) fn right(text: &str, width: usize) -> String {
    format!("{:>width$}", fit(text, width))
}

/// A whole number, and what is said of one that is not known.
pub(super) fn count(number: Option<u64>) -> String {
    number.map_or_else(|| "?".into(), |number| number.to_string())
}

/// A number in few columns: `999`, `12k`, `3.4M`.
pub(super) fn short(number: u64) -> String {
    let in_units = |unit: u64, name| {
        let tenths = number / (unit / 10);
        if tenths < 100 {
            format!("{}.{}{name}", tenths / 10, tenths % 10)
        } else {
            format!("{}{name}", tenths / 10)
        }
    };
    match number {
        0..10_000 => number.to_string(),
        10_000..1_000_000 => in_units(1000, 'k'),
        1_000_000..1_000_000_000 => in_units(1_000_000, 'M'),
        _ => in_units(1_000_000_000, 'G'),
    }
}

/// A rate per second in at most four columns.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are small and not negative"
)]
pub(super) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "?".into(),
        Some(rate) if rate <= 0.0 => "0".into(),
        // It is not nothing.
        Some(rate) if rate < 0.1 => "<0.1".into(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) if rate < 9999.5 => format!("{rate:.0}"),
        Some(rate) if rate < 999_500.0 => format!("{:.0}k", rate / 1000.0),
        Some(rate) => short(rate as u64),
    }
}

/// `5s`, `3m12s`, `2h05m`, `3d04h`
pub(super) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, ..) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// The time of the day in UTC.
pub(super) fn clock(at: SystemTime) -> String {
    crate::view::timestamp(at).get(11..19).map_or_else(|| "unknown".into(), |time| format!("{time}Z"))
}

/// Lines of whole words. What is longer than a line is broken; nothing is cut.
pub(super) fn wrap(text: &str, width: u16) -> Vec<String> {
    let width = usize::from(width.max(1));
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
        while line.chars().count() > width {
            let rest = line.chars().skip(width).collect();
            lines.push(line.chars().take(width).collect());
            line = rest;
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}
