//! Values of options: how they are read, within which bounds, and how they are shown.

use std::time::Duration;

use toml::de::DeValue;

use crate::detect::Thresholds;

/// Where an option's value is kept, and its bounds, both included.
pub(super) enum Setting {
    Count(fn(&mut Thresholds) -> &mut u64, u64, u64),
    Share(fn(&mut Thresholds) -> &mut f64, f64, f64),
    Time(fn(&mut Thresholds) -> &mut Duration, Duration, Duration),
}

impl Setting {
    /// Takes over a value, or says why not.
    pub(super) fn set(&self, thresholds: &mut Thresholds, value: &DeValue<'_>) -> Result<(), String> {
        match self {
            Self::Count(place, low, high) => {
                *place(thresholds) = within(count(value)?, *low, *high, &self.range(), value)?;
            }
            Self::Share(place, low, high) => {
                *place(thresholds) = within(number(value)?, *low, *high, &self.range(), value)?;
            }
            Self::Time(place, low, high) => {
                *place(thresholds) = within(time(value)?, *low, *high, &self.range(), value)?;
            }
        }
        Ok(())
    }

    /// The present value as a file has it.
    pub(super) fn show(&self, thresholds: &Thresholds) -> String {
        let mut thresholds = thresholds.clone();
        match self {
            Self::Count(place, ..) => place(&mut thresholds).to_string(),
            Self::Share(place, ..) => format!("{:?}", place(&mut thresholds)),
            Self::Time(place, ..) => format!("\"{}\"", short(*place(&mut thresholds))),
        }
    }

    /// `from 1 to 100`
    pub(super) fn range(&self) -> String {
        match self {
            Self::Count(_, low, high) => format!("from {low} to {high}"),
            Self::Share(_, low, high) => format!("from {low} to {high}"),
            Self::Time(_, low, high) => format!("from {} to {}", short(*low), short(*high)),
        }
    }
}

fn within<T: PartialOrd>(value: T, low: T, high: T, range: &str, given: &DeValue<'_>) -> Result<T, String> {
    if (low..=high).contains(&value) {
        Ok(value)
    } else {
        Err(format!("is {}, and may be {range}", shown(given)))
    }
}

/// A value as the file has it.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::Integer(number) => number.as_str().into(),
        DeValue::Float(number) => number.as_str().into(),
        DeValue::String(text) => format!("{text:?}"),
        other => format!("of type {}", other.type_str()),
    }
}

fn count(value: &DeValue<'_>) -> Result<u64, String> {
    let no_count = || format!("is {}, and takes a whole number", shown(value));
    let DeValue::Integer(number) = value else { return Err(no_count()) };
    let digits = number.as_str().trim_start_matches('+');
    u64::from_str_radix(digits, number.radix()).map_err(|_| no_count())
}

fn number(value: &DeValue<'_>) -> Result<f64, String> {
    let text = match value {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::Float(number) => number.as_str(),
        _ => return Err(format!("is {}, and takes a number such as 0.8", shown(value))),
    };
    text.parse().map_err(|_| format!("is {text}, and takes a number such as 0.8"))
}

fn time(value: &DeValue<'_>) -> Result<Duration, String> {
    let no_time = || format!("is {}, and takes seconds, or text such as \"30s\" or \"2m\"", shown(value));
    let seconds = match value {
        DeValue::String(text) => {
            let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
            let factor = match &text[digits.len()..] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return Err(no_time()),
            };
            digits.trim_end().parse::<f64>().map_err(|_| no_time())? * factor
        }
        _ => number(value).map_err(|_| no_time())?,
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| no_time())
}

/// In the largest unit that needs no fraction.
pub(super) fn short(time: Duration) -> String {
    let milliseconds = time.as_millis();
    for (unit, length) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
        if milliseconds >= length && milliseconds.is_multiple_of(length) {
            return format!("{}{unit}", milliseconds / length);
        }
    }
    format!("{milliseconds}ms")
}
