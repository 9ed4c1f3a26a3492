//! Values of options: how they are read, within which bounds, and how they are shown.

use std::fmt::Write as _;
use std::time::Duration;

use toml::de::DeValue;

use super::Values;

/// Where an option's value is kept, and its bounds, both included.
pub(super) enum Setting {
    Count(fn(&mut Values) -> &mut u64, u64, u64),
    Share(fn(&mut Values) -> &mut f64, f64, f64),
    Time(fn(&mut Values) -> &mut Duration, Duration, Duration),
    Flag(fn(&mut Values) -> &mut bool),
    Text(fn(&mut Values) -> &mut String),
    /// In bytes.
    Size(fn(&mut Values) -> &mut u64, u64, u64),
}

impl Setting {
    /// Takes over a value, or says why not.
    pub(super) fn set(&self, values: &mut Values, value: &DeValue<'_>) -> Result<(), String> {
        match self {
            Self::Count(place, low, high) => {
                *place(values) = within(count(value)?, *low, *high, &self.range(), value)?;
            }
            Self::Share(place, low, high) => {
                *place(values) = within(number(value)?, *low, *high, &self.range(), value)?;
            }
            Self::Time(place, low, high) => {
                *place(values) = within(time(value)?, *low, *high, &self.range(), value)?;
            }
            Self::Flag(place) => *place(values) = flag(value)?,
            Self::Text(place) => *place(values) = text(value)?,
            Self::Size(place, low, high) => {
                *place(values) = within(size(value)?, *low, *high, &self.range(), value)?;
            }
        }
        Ok(())
    }

    /// The present value as a file has it.
    pub(super) fn show(&self, values: &Values) -> String {
        let mut values = values.clone();
        match self {
            Self::Count(place, ..) => place(&mut values).to_string(),
            Self::Share(place, ..) => format!("{:?}", place(&mut values)),
            Self::Time(place, ..) => format!("\"{}\"", short(*place(&mut values))),
            Self::Flag(place) => place(&mut values).to_string(),
            Self::Text(place) => toml_text(place(&mut values)),
            Self::Size(place, ..) => match bytes(*place(&mut values)) {
                size if size.ends_with('B') => format!("\"{size}\""),
                size => size,
            },
        }
    }

    /// `from 1 to 100`
    pub(super) fn range(&self) -> String {
        match self {
            Self::Count(_, low, high) => format!("from {low} to {high}"),
            Self::Share(_, low, high) => format!("from {low} to {high}"),
            Self::Time(_, low, high) => format!("from {} to {}", short(*low), short(*high)),
            Self::Flag(_) => "true or false".into(),
            Self::Text(_) => "any text".into(),
            Self::Size(_, low, high) => format!("from {} to {}", bytes(*low), bytes(*high)),
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

fn flag(value: &DeValue<'_>) -> Result<bool, String> {
    let DeValue::Boolean(flag) = value else {
        return Err(format!("is {}, and takes true or false", shown(value)));
    };
    Ok(*flag)
}

fn text(value: &DeValue<'_>) -> Result<String, String> {
    let DeValue::String(text) = value else {
        return Err(format!("is {}, and takes text such as \"/var/lib\"", shown(value)));
    };
    Ok(text.clone().into_owned())
}

const SIZES: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

fn size(value: &DeValue<'_>) -> Result<u64, String> {
    let DeValue::String(text) = value else { return count(value) };
    let no_size = || format!("is {}, and takes bytes, or text such as \"256MiB\" or \"1GiB\"", shown(value));
    let (digits, factor) = SIZES
        .into_iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .ok_or_else(no_size)?;
    digits.trim_end().parse::<u64>().ok().and_then(|count| count.checked_mul(factor)).ok_or_else(no_size)
}

/// In the largest unit that needs no fraction.
fn bytes(size: u64) -> String {
    let unit = SIZES.into_iter().find(|(_, factor)| size >= *factor && size.is_multiple_of(*factor));
    unit.map_or_else(|| size.to_string(), |(unit, factor)| format!("{}{unit}", size / factor))
}

/// As a basic string of TOML.
fn toml_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => _ = write!(quoted, "\\u{:04X}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
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
