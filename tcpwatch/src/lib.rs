//! tcpwatch watches every TCP socket's state, checks each transition, and explains what is wrong.
//!
//! Data travels one way: [`source`] makes a [`sample::Sample`] from the kernel's side ([`kernel`]) and from the host
//! ([`host`]), named by the cluster's ([`pods`]); [`model`] turns samples into a report; [`view`] is what people see of it, and [`serve`] and [`cli`]
//! show it. [`daemon`] wires them. See ARCHITECTURE.md.

#![deny(unsafe_code)]

pub mod causes;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod detect;
pub mod explain;
pub mod feed;
pub mod filter;
pub mod finding;
pub mod host;
#[expect(unsafe_code, reason = "borrows the ring's file descriptor, which aya only gives as a number")]
pub mod kernel;
pub mod lab;
pub mod model;
pub mod pods;
pub mod process;
pub mod prove;
pub mod question;
pub mod record;
pub mod replay;
pub mod roster;
pub mod sample;
pub mod serve;
pub mod source;
pub mod top;
pub mod view;
