//! Numbers in a filter: single ones, ranges, and comparisons.

use std::fmt;

/// Which numbers are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Numbers {
    /// First and last of each range.
    In(Vec<(u64, u64)>),
    Compare(Order, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Above,
    AtLeast,
    Below,
    AtMost,
}

impl Order {
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    /// Whether `value` is above, below or what else it is asked to be.
    pub(super) fn holds<T: PartialOrd + Copy>(self, value: T, limit: T) -> bool {
        match self {
            Self::Above => value > limit,
            Self::AtLeast => value >= limit,
            Self::Below => value < limit,
            Self::AtMost => value <= limit,
        }
    }
}

impl Numbers {
    pub(super) fn contain(&self, number: u64) -> bool {
        match self {
            Self::In(ranges) => ranges.iter().any(|(first, last)| (*first..=*last).contains(&number)),
            Self::Compare(order, limit) => order.holds(number, *limit),
        }
    }
}

/// With the sign that comes between the word and the numbers.
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = match self {
            Self::Compare(order, limit) => return write!(f, "{}{limit}", order.sign()),
            Self::In(ranges) => ranges,
        };
        for (place, (first, last)) in ranges.iter().enumerate() {
            f.write_str(if place == 0 { "=" } else { "," })?;
            write!(f, "{first}")?;
            if first != last {
                write!(f, "-{last}")?;
            }
        }
        Ok(())
    }
}

/// `80`, as `ss` has it `:80`, or `8000-8099`; none above `most`.
pub(super) fn range(text: &str, most: u64) -> Result<(u64, u64), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first, most)?, number(last, most)?);
    if first > last {
        return Err(format!("the range {text} is empty: write {last}-{first}"));
    }
    Ok((first, last))
}

/// One number, not above `most`.
pub(super) fn number(text: &str, most: u64) -> Result<u64, String> {
    let digits = text.strip_prefix(':').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text:?} is no number"));
    }
    digits.parse().ok().filter(|number| *number <= most).ok_or_else(|| format!("{text} is above {most}"))
}
