//! Numbers and times as pages show them.

/// `12.3/s`.
pub fn rate(rate: f64) -> String {
    match rate {
        0.0 => "0/s".into(),
        rate if rate < 10.0 => format!("{rate:.1}/s"),
        rate => format!("{rate:.0}/s"),
    }
}

/// A time in seconds: exact where that matters, and in minutes or hours beside it where that helps.
pub fn seconds(seconds: f64) -> String {
    let exact =
        if seconds.fract().abs() < 1e-9 { format!("{seconds:.0} s") } else { format!("{seconds:.1} s") };
    match seconds {
        seconds if seconds < 0.001 => format!("{:.0} µs", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        seconds if seconds < 120.0 => exact,
        seconds if seconds < 7200.0 => format!("{exact} ({:.0} min)", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{exact} ({:.1} h)", seconds / 3600.0),
        seconds => format!("{exact} ({:.0} days)", seconds / 86400.0),
    }
}

/// `12 B`, `3.4 MiB`.
pub fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = bytes as f64;
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        size /= 1024.0;
        if size < 1024.0 {
            return format!("{size:.1} {unit}");
        }
    }
    format!("{:.1} TiB", size / 1024.0)
}

/// `12 of 100 (12 %)`.
pub fn part(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    match whole {
        0 => format!("{part} of 0"),
        whole => format!("{part} of {whole} ({:.0} %)", part as f64 / whole as f64 * 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_easily() {
        assert_eq!(seconds(63.0), "63 s");
        assert_eq!(seconds(924.6), "924.6 s (15 min)");
        assert_eq!(seconds(7875.0), "7875 s (2.2 h)");
        assert_eq!(seconds(0.002), "2 ms");
        assert_eq!((rate(0.0), rate(1.25), rate(120.4)), ("0/s".into(), "1.2/s".into(), "120/s".into()));
        assert_eq!((bytes(12), bytes(3 << 20)), ("12 B".into(), "3.0 MiB".into()));
        assert_eq!(part(12, 100), "12 of 100 (12 %)");
    }
}
