//! A buffer as lines of plain text.

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;

use crate::top::App;

/// The whole screen without any style, each line without spaces at its end.
pub fn plain(app: &App, columns: u16, rows: u16) -> String {
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    super::draw(app, area, &mut buffer);
    let mut text = String::new();
    for y in 0..rows {
        let line: String = (0..columns).filter_map(|x| buffer.cell((x, y))).map(Cell::symbol).collect();
        text += line.trim_end();
        text.push('\n');
    }
    text
}
