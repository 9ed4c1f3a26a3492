//! How long to wait before the next try: ever longer, and never in step with other nodes.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::time::Duration;

use super::trouble::Trouble;

/// How patient the watcher is.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Before the second try; each further one waits twice as long.
    pub first: Duration,
    pub most: Duration,
    /// If somebody has to change something.
    pub lasting: Duration,
    /// For an answer to begin, and for a list to be whole.
    pub answer: Duration,
    /// How long a watch lasts that the API is asked for. It ends it by itself, and so finds out about dead peers.
    pub watch: Duration,
    /// A watch that ends sooner, and without a change, has failed.
    pub brief: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            most: Duration::from_mins(1),
            lasting: Duration::from_mins(1),
            answer: Duration::from_secs(30),
            watch: Duration::from_mins(5),
            brief: Duration::from_secs(5),
        }
    }
}

/// The next waiting time.
#[derive(Debug)]
pub(super) struct Pace {
    patience: Patience,
    failures: u32,
    random: RandomState,
    drawn: u64,
}

impl Pace {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, failures: 0, random: RandomState::new(), drawn: 0 }
    }

    /// It works again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// After this trouble.
    pub(super) fn wait(&mut self, trouble: &Trouble) -> Duration {
        let Patience { first, most, lasting, .. } = self.patience;
        if trouble.is_lasting() {
            return self.jitter(lasting);
        }
        let wait = first.saturating_mul(1 << self.failures.min(16)).min(most);
        self.failures += 1;
        let asked = if let Trouble::Busy { wait, .. } = trouble { *wait } else { None };
        self.jitter(asked.map_or(wait, |asked| asked.max(wait)))
    }

    /// Between three quarters and five quarters of it.
    pub(super) fn jitter(&mut self, time: Duration) -> Duration {
        self.drawn += 1;
        let random = u32::try_from(self.random.hash_one(self.drawn) >> 54).unwrap_or(0);
        time / 4 * 3 + time / 2 * random / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_ever_longer_and_begins_anew() {
        let mut pace = Pace::new(Patience::default());
        let broken = Trouble::Broken("x".into());
        let seconds = |pace: &mut Pace, trouble: &Trouble| pace.wait(trouble).as_secs_f64();
        let mut expected = 0.5;
        for _ in 0..40 {
            let waited = seconds(&mut pace, &broken);
            assert!((expected * 0.74..=expected * 1.26).contains(&waited), "{waited} of {expected}");
            expected = f64::min(expected * 2.0, 60.0);
        }
        pace.reset();
        assert!(seconds(&mut pace, &broken) < 0.7);
        let forbidden = seconds(&mut pace, &Trouble::Forbidden("x".into()));
        assert!((44.0..=76.0).contains(&forbidden), "{forbidden}");
        let busy = Trouble::Busy { code: 429, message: String::new(), wait: Some(Duration::from_secs(20)) };
        assert!((14.9..=25.1).contains(&seconds(&mut pace, &busy)), "as long as it asks for");
    }

    #[test]
    fn no_two_wait_the_same() {
        let times: std::collections::HashSet<Duration> =
            (0..50).map(|_| Pace::new(Patience::default()).jitter(Duration::from_mins(1))).collect();
        assert!(times.len() > 40, "{times:?}");
    }
}
