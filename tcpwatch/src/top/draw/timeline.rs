//! The time line of a recording.

use super::paper::{Ink, Paper, age};
use crate::top::Timeline;
use crate::view::timestamp;

/// Two rows: the line, and what it says.
pub(super) fn draw(timeline: &Timeline, paper: &mut Paper<'_>, y: u16) {
    let columns = paper.width().saturating_sub(2);
    paper.put(0, y, &format!("[{}]", "-".repeat(columns.into())), Ink::Dim);
    // The worse ones last: they are to be seen.
    for is_critical in [false, true] {
        for mark in timeline.marks.iter().filter(|mark| mark.is_critical == is_critical) {
            let (sign, ink) = if is_critical { ("!", Ink::Critical) } else { ("*", Ink::Warning) };
            paper.put(1 + timeline.column(mark.at, columns), y, sign, ink);
        }
    }
    paper.put(1 + timeline.column(timeline.at, columns), y, "#", Ink::Chosen);
    let second = |at| {
        let text = timestamp(at);
        text.get(..19).map_or_else(|| text.clone(), |text| format!("{}Z", text.replace('T', " ")))
    };
    let before_end = timeline.last.duration_since(timeline.at).unwrap_or_default();
    let all = timeline.last.duration_since(timeline.first).unwrap_or_default();
    let findings = match timeline.marks.len() {
        0 => String::new(),
        1 => ", 1 finding opened (! *)".into(),
        count => format!(", {count} findings opened (! *)"),
    };
    let text =
        format!("{}, {} before the end of {}{findings}", second(timeline.at), age(before_end), age(all));
    paper.put(0, y + 1, &super::fit(&text, paper.width().into()), Ink::Plain);
}
