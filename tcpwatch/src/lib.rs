//! tcpwatch
pub mod kernel;
pub mod host;
