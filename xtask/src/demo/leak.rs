//! The server that misbehaves: it accepts connections and forgets to close them when their clients have gone.
//!
//! It is this very program under another name, so that it is a process of its own that can be found.

use std::fs;
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::cast::Part;

/// As `ps` shows it.
pub const NAME: &str = "shop-backend";
/// The command of this program that it is; nobody types it.
pub const COMMAND: &str = "play-forgetful-server";
pub const PORT: u16 = 8080;
pub const CONNECTIONS: usize = 60;

/// Its clients come one by one.
const PAUSE: Duration = Duration::from_millis(20);

/// Is the server; ends when it is told to.
pub fn play() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))
        .with_context(|| format!("cannot listen on port {PORT}"))?;
    let mut forgotten = Vec::new();
    for stream in listener.incoming() {
        let mut stream = stream.context("cannot accept")?;
        let mut request = Vec::new();
        // Reads to the end of what the client says, which is where it should close.
        let _ = stream.read_to_end(&mut request);
        forgotten.push(stream);
    }
    Ok(())
}

pub fn start(folder: &Path) -> Result<Part> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let program = folder.join(NAME);
    fs::copy(&own, &program).with_context(|| format!("cannot copy {}", own.display()))?;
    Part::start(folder, NAME, &program, &[COMMAND])
}

/// Clients that say something and go away.
pub fn visit(server: IpAddr) -> Result<()> {
    let address = SocketAddr::from((server, PORT));
    let connect = || {
        let tries =
            std::iter::repeat_with(|| TcpStream::connect(address).inspect_err(|_| thread::sleep(PAUSE)));
        tries.take(250).find_map(Result::ok).with_context(|| format!("nobody listens at {address}"))
    };
    for _ in 0..CONNECTIONS {
        drop(connect()?);
        thread::sleep(PAUSE);
    }
    Ok(())
}
