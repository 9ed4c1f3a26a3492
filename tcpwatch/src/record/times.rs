//! Times and addresses as differences. See [`super::delta`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::time::{Duration, SystemTime};

use super::delta::{Bad, Delta, Input, put_number};

/// Times further away than this are no times, and would overflow where they are added up.
const MOST_SECONDS: u64 = 1 << 40;
const NANOSECONDS: u32 = 1_000_000_000;

impl Delta for Duration {
    fn blank() -> Self {
        Self::ZERO
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        self.as_secs().put(&before.as_secs(), out);
        self.subsec_nanos().put(&before.subsec_nanos(), out);
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        let (mut seconds, mut nanoseconds) = (self.as_secs(), self.subsec_nanos());
        seconds.take(input)?;
        nanoseconds.take(input)?;
        if nanoseconds >= NANOSECONDS {
            return Err(Bad);
        }
        *self = Self::new(seconds, nanoseconds);
        // The longest of all stands for never.
        if seconds > MOST_SECONDS && *self != Self::MAX {
            return Err(Bad);
        }
        Ok(())
    }
}

/// As the time since 1970, negative before.
impl Delta for SystemTime {
    fn blank() -> Self {
        Self::UNIX_EPOCH
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        let parts = |time: &Self| match time.duration_since(Self::UNIX_EPOCH) {
            Ok(since) => (false, since),
            Err(error) => (true, error.duration()),
        };
        let ((is_early, since), (was_early, was)) = (parts(self), parts(before));
        is_early.put(&was_early, out);
        since.put(&was, out);
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        let (mut is_early, mut since) = match self.duration_since(Self::UNIX_EPOCH) {
            Ok(since) => (false, since),
            Err(error) => (true, error.duration()),
        };
        is_early.take(input)?;
        since.take(input)?;
        let time =
            if is_early { Self::UNIX_EPOCH.checked_sub(since) } else { Self::UNIX_EPOCH.checked_add(since) };
        *self = time.ok_or(Bad)?;
        Ok(())
    }
}

/// 0 for the same as before, else 4 or 6 and the address.
impl Delta for IpAddr {
    fn blank() -> Self {
        Self::V4(Ipv4Addr::UNSPECIFIED)
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        match self {
            _ if self == before => out.push(0),
            Self::V4(address) => {
                out.push(4);
                out.extend_from_slice(&address.octets());
            }
            Self::V6(address) => {
                out.push(6);
                out.extend_from_slice(&address.octets());
            }
        }
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        match input.byte()? {
            0 => {}
            4 => *self = Ipv4Addr::from(input.array::<4>()?).into(),
            6 => *self = Ipv6Addr::from(input.array::<16>()?).into(),
            _ => return Err(Bad),
        }
        Ok(())
    }
}

/// 0 for the same as before, else 4 or 6, the address, the port, and for IPv6 flow and scope.
impl Delta for SocketAddr {
    fn blank() -> Self {
        Self::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))
    }

    fn put(&self, before: &Self, out: &mut Vec<u8>) {
        match self {
            _ if self == before => out.push(0),
            Self::V4(end) => {
                out.push(4);
                out.extend_from_slice(&end.ip().octets());
                put_number(end.port().into(), out);
            }
            Self::V6(end) => {
                out.push(6);
                out.extend_from_slice(&end.ip().octets());
                put_number(end.port().into(), out);
                put_number(end.flowinfo().into(), out);
                put_number(end.scope_id().into(), out);
            }
        }
    }

    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad> {
        match input.byte()? {
            0 => {}
            4 => {
                let address = Ipv4Addr::from(input.array::<4>()?);
                *self = SocketAddrV4::new(address, small(input)?).into();
            }
            6 => {
                let address = Ipv6Addr::from(input.array::<16>()?);
                *self = SocketAddrV6::new(address, small(input)?, small(input)?, small(input)?).into();
            }
            _ => return Err(Bad),
        }
        Ok(())
    }
}

fn small<T: TryFrom<u64>>(input: &mut Input<'_>) -> Result<T, Bad> {
    input.number()?.try_into().map_err(|_| Bad)
}
