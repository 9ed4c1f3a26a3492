//! Durations, as Prometheus counts them.

use super::*;

#[test]
fn buckets_are_cumulative_and_the_last_is_the_count() {
    let families = first_page(full());
    let family =
        families.iter().find(|family| family.name() == "tcpwatch_time_in_state_seconds").expect("there");
    assert_eq!(family.get_field_type(), MetricType::HISTOGRAM);
    let histogram = family.get_metric()[0].get_histogram();
    let buckets = histogram.get_bucket();
    assert_eq!(buckets.len(), 19);
    for pair in buckets.windows(2) {
        assert!(pair[0].cumulative_count() <= pair[1].cumulative_count());
        let factor = pair[1].upper_bound() / pair[0].upper_bound();
        assert!((factor - 4.0).abs() < 1e-9, "{factor}");
    }
    assert_eq!(buckets[18].cumulative_count(), 6, "the longest is above every bound");
    assert_eq!(histogram.get_sample_count(), 7);
    let page = shown(full(), USAGE);
    for end in ["_bucket{state=\"established\",le=\"+Inf\"} 7", "_count{state=\"established\"} 7"] {
        let line = format!("tcpwatch_time_in_state_seconds{end}");
        assert!(page.lines().any(|found| found == line), "{line}");
    }
}
