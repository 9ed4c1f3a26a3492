//! A listening socket, as the kernel side keeps it for user space to poll.

/// Its queues and drops, as they were when they were last polled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Listener {
    /// Where the kernel keeps it; only ever read through helpers that check the address.
    pub address: u64,
    /// SYN-ACKs sent again.
    pub synack_retransmits: u64,
    /// Those of them for a request whose last ACK had been dropped, as the accept queue was full.
    pub stuck: u64,
    pub local: [u8; 16],
    pub netns: u32,
    /// The process that called `listen()`, 0 if unknown.
    pub pid: u32,
    pub uid: u32,
    pub accept_queue: u32,
    pub accept_limit: u32,
    pub syn_queue: u32,
    pub young: u32,
    pub drops: u32,
    pub local_port: u16,
    pub family: u8,
    /// See [`V6_ONLY`], [`POLLED`] and [`GONE`].
    pub flags: u8,
    pub padding: [u8; 4],
}

/// It takes IPv6 only.
pub const V6_ONLY: u8 = 1;
/// The queues have been read.
pub const POLLED: u8 = 2;
/// At its address is no such listener any more.
pub const GONE: u8 = 4;

/// Words of a [`Listener`].
pub const WORDS: usize = size_of::<Listener>() / 8;

const _: () = assert!(size_of::<Listener>() == WORDS * 8 && WORDS == 10);

impl Listener {
    /// The record whose words these are.
    pub const fn from_words(words: &[u64; WORDS]) -> Self {
        const fn halves(word: u64) -> (u32, u32) {
            let b = word.to_ne_bytes();
            (u32::from_ne_bytes([b[0], b[1], b[2], b[3]]), u32::from_ne_bytes([b[4], b[5], b[6], b[7]]))
        }
        let (netns, pid) = halves(words[5]);
        let (uid, accept_queue) = halves(words[6]);
        let (accept_limit, syn_queue) = halves(words[7]);
        let (young, drops) = halves(words[8]);
        let [port_0, port_1, family, flags, ..] = words[9].to_ne_bytes();
        let local = (words[3].to_ne_bytes(), words[4].to_ne_bytes());
        Self {
            address: words[0],
            synack_retransmits: words[1],
            stuck: words[2],
            local: crate::survey::joined(local.0, local.1),
            netns,
            pid,
            uid,
            accept_queue,
            accept_limit,
            syn_queue,
            young,
            drops,
            local_port: u16::from_ne_bytes([port_0, port_1]),
            family,
            flags,
            padding: [0; 4],
        }
    }

    /// The words of this record: what [`Self::from_words`] makes it of.
    pub const fn to_words(&self) -> [u64; WORDS] {
        const fn pair(low: u32, high: u32) -> u64 {
            joined_words(low.to_ne_bytes(), high.to_ne_bytes())
        }
        let [port_0, port_1] = self.local_port.to_ne_bytes();
        [
            self.address,
            self.synack_retransmits,
            self.stuck,
            half(&self.local, 0),
            half(&self.local, 8),
            pair(self.netns, self.pid),
            pair(self.uid, self.accept_queue),
            pair(self.accept_limit, self.syn_queue),
            pair(self.young, self.drops),
            u64::from_ne_bytes([port_0, port_1, self.family, self.flags, 0, 0, 0, 0]),
        ]
    }
}

/// Two halves as they lie one after the other.
const fn joined_words(low: [u8; 4], high: [u8; 4]) -> u64 {
    let ([first, second, third, fourth], [fifth, sixth, seventh, eighth]) = (low, high);
    u64::from_ne_bytes([first, second, third, fourth, fifth, sixth, seventh, eighth])
}

/// Eight bytes of an address.
const fn half(address: &[u8; 16], start: usize) -> u64 {
    let mut bytes = [0; 8];
    let mut at = 0;
    while at < 8 {
        bytes[at] = address[start + at];
        at += 1;
    }
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_goes_to_words_and_back() {
        let mut words = core::array::from_fn(|at| 0x0102_0304_0506_0708 * (at as u64 + 1));
        // The last half is padding.
        words[WORDS - 1] >>= 32;
        assert_eq!(Listener::from_words(&words).to_words(), words);
        let one =
            Listener { netns: 1, pid: 2, uid: 3, local_port: 80, family: 6, flags: 5, ..Listener::default() };
        assert_eq!(Listener::from_words(&one.to_words()), one);
    }
}
