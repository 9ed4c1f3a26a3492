//! What was found wrong while a recording was made, for the time line.

use std::path::Path;
use std::sync::mpsc::Sender;

use super::Input;
use crate::record::{Entry, Item, Reader};
use crate::top::{Event, Mark};

/// Reads all of it once. What is wrong with the recording is told where it is shown.
pub(super) fn look(path: &Path, tell: &Sender<Input>) {
    let Ok(reader) = Reader::open(path) else { return };
    for entry in reader.map_while(Result::ok) {
        let Entry::Item(at, Item::Change(change)) = entry else { continue };
        let is_critical = change.severity == "critical";
        let mark = Mark { at, id: change.id, since: change.since, is_critical };
        if change.is_open && tell.send(Input::Event(Event::Mark(mark))).is_err() {
            return;
        }
    }
}
