//! Times as people write them, within a recording.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::record::Span;

/// A time that is told by a clock, or by the end of the recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    At(SystemTime),
    /// On the last day of the recording.
    Clock(jiff::civil::Time),
    /// So long before the end.
    Before(Duration),
}

/// How times are written, for help and errors.
pub(super) const FORMS: &str =
    "2026-01-31T03:00:00Z, \"2026-01-31 03:00\" or 03:00 (UTC), or -10m for so long before the end";

pub(super) fn parse(text: &str) -> Result<When> {
    if let Some(time) = text.strip_prefix('-') {
        return Ok(When::Before(duration(time)?));
    }
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(When::At(at.into()));
    }
    // A date first: a time is found in a date as well.
    if let Ok(civil) = text.parse::<jiff::civil::DateTime>()
        && let Ok(zoned) = civil.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(When::At(zoned.timestamp().into()));
    }
    let time = text.parse().with_context(|| format!("{text:?} is no time; write {FORMS}"))?;
    Ok(When::Clock(time))
}

/// `90`, `90s`, `10m` or `2h`.
pub(super) fn duration(text: &str) -> Result<Duration> {
    let wrong = || format!("{text:?} is no time; write 30s, 10m or 2h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => anyhow::bail!(wrong()),
    };
    let seconds = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    let seconds = seconds.filter(|seconds| *seconds <= 1 << 32).with_context(wrong)?;
    Ok(Duration::from_secs(seconds))
}

impl When {
    pub(super) fn within(self, span: Span) -> SystemTime {
        match self {
            Self::At(at) => at,
            Self::Before(time) => span.last.checked_sub(time).unwrap_or(span.first),
            Self::Clock(time) => {
                let utc = jiff::tz::TimeZone::UTC;
                let day = jiff::Timestamp::try_from(span.last).map(|last| last.to_zoned(utc.clone()).date());
                let at = day.and_then(|day| day.to_datetime(time).to_zoned(utc));
                at.map_or(span.last, |at| at.timestamp().into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let span = Span { first: at(1_700_000_000), last: at(1_700_006_400) };
        for (text, seconds) in [
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000),
            ("2023-11-14 22:13", 1_699_999_980),
            ("2023-11-14T22:13:20", 1_700_000_000),
            ("00:00", 1_700_006_400),
            ("00:00:07", 1_700_006_407),
            ("-400s", 1_700_006_000),
            ("-1h", 1_700_002_800),
        ] {
            let when = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(when.within(span), at(seconds), "{text}");
        }
        for text in ["", "-", "yesterday", "25:00", "-1d", "2023-13-01", "-99999999999999999999h", "-1e3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
