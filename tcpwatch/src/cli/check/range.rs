//! Ranges of figures, as monitoring plugins write them.

use std::str::FromStr;

use tcpwatch_common::TcpState;

/// Figures beside the states.
pub(super) const OTHER_FIGURES: [&str; 3] = ["findings_critical", "findings_warning", "drops"];

/// A figure, and where it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Limit {
    pub(super) figure: String,
    pub(super) range: Range,
}

/// Where a figure should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Range {
    low: f64,
    high: f64,
    /// Not in between but outside is where it should be.
    is_inverted: bool,
    /// As it was written, for those who draw graphs.
    pub(super) text: String,
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (figure, range) = text.split_once('=').ok_or("write FIGURE=RANGE, such as close_wait=100")?;
        let all = || TcpState::RFC.map(TcpState::name).into_iter().chain(OTHER_FIGURES);
        if !all().any(|known| known == figure) {
            let all: Vec<&str> = all().collect();
            return Err(format!("there is no figure {figure:?}; there is {}", all.join(", ")));
        }
        Ok(Self { figure: figure.into(), range: range.parse()? })
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no range; write 10, 10:, ~:10, 10:20 or @10:20");
        let (is_inverted, bounds) = text.strip_prefix('@').map_or((false, text), |rest| (true, rest));
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
        let (low, high) = match bounds.split_once(':') {
            None => (Some(0.0), number(bounds)),
            Some((low, high)) => (
                if low == "~" { Some(f64::NEG_INFINITY) } else { number(low) },
                if high.is_empty() { Some(f64::INFINITY) } else { number(high) },
            ),
        };
        let (low, high) = low.zip(high).filter(|(low, high)| low <= high).ok_or_else(wrong)?;
        Ok(Self { low, high, is_inverted, text: text.into() })
    }
}

impl Range {
    /// Whether a figure is where it should not be.
    pub(super) fn is_alarm(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value) == self.is_inverted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_plugins() {
        for (text, alarms, fine) in [
            ("10", &[-1.0, 11.0][..], &[0.0, 10.0][..]),
            ("10:", &[9.0, -1.0], &[10.0, 1e9]),
            ("~:10", &[11.0], &[-1.0, 10.0]),
            ("10:20", &[9.0, 21.0], &[10.0, 20.0]),
            ("@10:20", &[10.0, 20.0], &[9.0, 21.0]),
            ("@0", &[0.0], &[1.0]),
        ] {
            let range: Range = text.parse().expect(text);
            for value in alarms {
                assert!(range.is_alarm(*value), "{value} in {text}");
            }
            for value in fine {
                assert!(!range.is_alarm(*value), "{value} in {text}");
            }
        }
        for text in ["", "x", "20:10", ":10", "@", "~", "nan", "inf", "1:2:3", "10:~"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }

    #[test]
    fn figures_are_known_ones() {
        assert_eq!("time_wait=5:".parse::<Limit>().expect("fine").figure, "time_wait");
        for (text, problem) in [
            ("close_wait", "write FIGURE=RANGE"),
            ("closewait=1", "there is no figure \"closewait\"; there is "),
            ("close_wait=x", "\"x\" is no range"),
        ] {
            let error = text.parse::<Limit>().expect_err(text);
            assert!(error.starts_with(problem), "{error}");
        }
    }
}
