//! Why a connect failed.

/// What became of a SYN that led to no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ConnectFailure {
    /// Answered with a reset: nobody listens there.
    Refused = 0,
    /// Never answered.
    Timeout = 1,
    /// A router or the host said that there is no way.
    Unreachable = 2,
    /// It was never sent, or given up by the caller.
    Local = 3,
    /// Another error.
    Other = 4,
}

impl ConnectFailure {
    pub const COUNT: usize = 5;
    pub const ALL: [Self; Self::COUNT] =
        [Self::Refused, Self::Timeout, Self::Unreachable, Self::Local, Self::Other];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Local => "local",
            Self::Other => "other",
        }
    }

    /// From `sk_err` of a socket that leaves SYN_SENT for CLOSE.
    pub const fn from_error(error: u32) -> Self {
        match error {
            0 | 103 => Self::Local,
            // ECONNREFUSED, ECONNRESET
            111 | 104 => Self::Refused,
            110 => Self::Timeout,
            // EPROTO, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH
            71 | 100 | 101 | 112 | 113 => Self::Unreachable,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places() {
        for (place, failure) in ConnectFailure::ALL.into_iter().enumerate() {
            assert_eq!(failure as usize, place);
        }
    }

    #[test]
    fn errors_have_reasons() {
        assert_eq!(ConnectFailure::from_error(0), ConnectFailure::Local);
        assert_eq!(ConnectFailure::from_error(111), ConnectFailure::Refused);
        assert_eq!(ConnectFailure::from_error(110), ConnectFailure::Timeout);
        assert_eq!(ConnectFailure::from_error(113), ConnectFailure::Unreachable);
        assert_eq!(ConnectFailure::from_error(5), ConnectFailure::Other);
    }
}
