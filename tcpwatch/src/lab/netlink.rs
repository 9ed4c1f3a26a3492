//! One netlink request and its acknowledgement: enough to configure links and
//! to destroy sockets. Of the calling thread's network namespace.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{recv, sendto, socket_with};
use std::io;

const NLM_F_REQUEST: u16 = 0x01;
const NLM_F_ACK: u16 = 0x04;
/// Make a new object, and fail if it is there already.
pub const NLM_F_CREATE_EXCL: u16 = 0x400 | 0x200;

const NLMSG_ERROR: u16 = 2;
const HEADER: usize = 16;

/// A netlink message under construction.
pub struct Message(Vec<u8>);

/// The place of an open nested attribute, see [`Message::open`].
#[must_use = "an attribute that is not closed has no length"]
pub struct Nest(usize);

impl Message {
    /// Starts a message of `kind` with the family's fixed header `body`.
    pub fn new(kind: u16, flags: u16, body: &[u8]) -> Message {
        let mut bytes = vec![0; 4]; // the length is set when the message is sent
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        bytes.extend(1u32.to_ne_bytes()); // sequence number
        bytes.extend(0u32.to_ne_bytes()); // port id: the kernel fills it in
        bytes.extend(body);
        let mut message = Message(bytes);
        message.pad();
        message
    }

    /// Appends an attribute.
    pub fn attr(&mut self, kind: u16, value: &[u8]) {
        let nest = self.open(kind);
        self.bytes(value);
        self.close(nest);
    }

    /// Appends a NUL-terminated string attribute.
    pub fn attr_str(&mut self, kind: u16, value: &str) {
        self.attr(kind, &[value.as_bytes(), b"\0"].concat());
    }

    /// Starts an attribute that will hold whatever is appended until `close`.
    pub fn open(&mut self, kind: u16) -> Nest {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        Nest(start)
    }

    /// Appends plain bytes, for a fixed header inside a nested attribute.
    pub fn bytes(&mut self, value: &[u8]) {
        self.0.extend(value);
    }

    /// Ends a nested attribute.
    pub fn close(&mut self, Nest(start): Nest) {
        // What does not fit is refused by the kernel.
        let len = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }
}

/// Sends `message` and returns the error the kernel answers with.
pub fn request(protocol: Option<Protocol>, message: Message) -> io::Result<()> {
    let Message(mut bytes) = message;
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&len.to_ne_bytes());

    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
    sendto(&fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;

    let mut answer = [0; 4096];
    let (len, _) = recv(&fd, &mut answer, RecvFlags::empty())?;
    let answer = &answer[..len];
    let kind = answer.get(4..6).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    let code = answer.get(HEADER..).and_then(|rest| rest.first_chunk());
    match (kind, code) {
        (Some(NLMSG_ERROR), Some(code)) => match i32::from_ne_bytes(*code) {
            0 => Ok(()),
            code => Err(io::Error::from_raw_os_error(-code)),
        },
        _ => Err(io::Error::other(format!("no netlink acknowledgement: {answer:02x?}"))),
    }
}
