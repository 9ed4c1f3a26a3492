//! The time of each socket, as single transitions tell it: it never goes back, and durations are what passed between.

use std::collections::HashMap;
use tcpwatch_common::event::{Event, Kind, UNKNOWN};

/// What was told of each socket until now.
#[derive(Debug, Default)]
pub struct Timeline {
    sockets: HashMap<u64, Moments>,
}

#[derive(Clone, Copy, Debug)]
struct Moments {
    told: u64,
    /// When it entered the state it is in, if that was told.
    entered: Option<u64>,
}

impl Timeline {
    /// Checks the next fact. Nothing of what happened to the socket since the last one may have been left out.
    #[track_caller]
    pub fn check(&mut self, event: &Event) {
        let known = self.sockets.get(&event.socket).copied();
        if let Some(before) = known {
            assert!(event.at >= before.told, "{event:?} is told as before {}", before.told);
        }
        let mut entered = known.and_then(|known| known.entered);
        if event.kind == Kind::Transition as u8 {
            if let Some(entered) = entered
                && event.in_state != UNKNOWN
            {
                assert_eq!(event.at - event.in_state, entered, "{event:?} does not fit the one before");
            }
            // A self loop leaves the socket in its state.
            if event.old != event.new {
                entered = Some(event.at);
            }
        }
        self.sockets.insert(event.socket, Moments { told: event.at, entered });
    }

    /// From here on other facts are told.
    pub fn clear(&mut self) {
        self.sockets.clear();
    }
}
