//! Single tests, as the API takes each as a parameter of its own.

use super::filter;
use crate::filter::{Filter, Word};

#[test]
fn single_tests_are_parameters() {
    let test = Filter::test(Word::State, "close_wait,last_ack").expect("fine");
    assert_eq!(test, filter("state=close_wait,last_ack"));
    let error = Filter::test(Word::Port, "80 pid=1").expect_err("two tests");
    assert!(error.to_string().contains("more behind the value"), "{error}");
    let both = test.clone().and(filter("port=1"));
    assert_eq!(both, filter("state=close_wait,last_ack port=1"));
    assert_eq!(Filter::everything().and(test.clone()), test);
    assert_eq!(test.clone().and(Filter::everything()), test);
    for word in Word::ALL {
        assert_eq!(Word::parse(word.name()), Some(word));
    }
}

#[test]
fn figures_are_parameters_too() {
    let one = |word, text| Filter::test(word, text).expect("fine");
    assert_eq!(one(Word::Backoff, ">3"), filter("backoff>3"));
    assert_eq!(one(Word::RwndLimited, ">=10s"), filter("rwnd-limited>=10s"));
    assert_eq!(one(Word::Kernel, "yes"), filter("kernel"));
    for (word, text) in [(Word::Kernel, "no"), (Word::RwndLimited, "10s"), (Word::State, ">listen")] {
        Filter::test(word, text).expect_err(text);
    }
    for text in
        ["backoff>3", "rwnd-limited>=10s", "kernel", "soft-error=EHOSTUNREACH,none", "bytes-acked=1-2"]
    {
        assert_eq!(filter(&filter(text).to_string()), filter(text));
        assert!(!filter(text).needs_owner());
    }
}
