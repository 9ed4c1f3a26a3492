//! The full screen of `tcpwatch top`: what it shows and how keys change it, without a clock, a terminal or a network.
//!
//! [`App`] is changed by [`Event`]s and asks for what it needs by [`Command`]s; [`draw::draw`] puts it into a buffer.
//! `cli/top` is the edge: it reads the keys, fetches the figures and owns the terminal.

mod app;
pub mod data;
mod detail;
pub mod draw;
mod event;
mod keys;
mod pane;
mod prompt;
mod recent;
mod rows;
mod subject;
#[cfg(test)]
mod tests;
mod timeline;

pub use app::{App, Options};
pub use event::{Command, Event, Key, Motion};
pub use timeline::{Mark, Position, Timeline};
