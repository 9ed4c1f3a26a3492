//! A server that never closes: what tests and demonstrations of tcpwatch look for.
//!
//! `leak PORT COUNT` listens on loopback, connects to itself, has each client close first, and keeps its own ends open,
//! in CLOSE_WAIT, until it is killed.

#![expect(clippy::print_stdout, reason = "whoever started it waits for a line")]

use std::error::Error;
use std::net::{Ipv4Addr, TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let mut number =
        |what: &str| args.next().ok_or_else(|| format!("usage: leak PORT COUNT; there is no {what}"));
    let (port, count): (u16, usize) = (number("PORT")?.parse()?, number("COUNT")?.parse()?);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let address = listener.local_addr()?;
    let mut kept = Vec::with_capacity(count);
    for _ in 0..count {
        drop(TcpStream::connect(address)?);
        kept.push(listener.accept()?);
    }
    println!("{address} keeps {} connections open whose clients have closed", kept.len());
    loop {
        std::thread::park();
    }
}
