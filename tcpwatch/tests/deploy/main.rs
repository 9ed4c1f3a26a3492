//! What `deploy/` holds, made from the code: rules, their tests, dashboards and pages cannot name what does not exist.
//!
//! Each file is put together here from [`tcpwatch::finding::Kind`], the explanations and `docs/metrics.md`, which a test
//! of its own holds against `/metrics`. The tests compare them with the committed files. To renew those:
//!
//! ```text
//! TCPWATCH_RENEW=1 cargo test -p tcpwatch --test deploy
//! ```

mod alerts;
mod commands;
mod committed;
mod configuration;
mod documented;
mod examples;
mod grafana;
mod install;
mod kubernetes;
mod page;
mod privileges;
mod promql;
mod recording;
mod runbooks;
mod text;
mod unit;
mod yaml;
