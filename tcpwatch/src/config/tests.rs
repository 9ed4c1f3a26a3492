//! Files that are right, and many that are not.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

/// `section.name` of every field of [`Values`], as its debug output has them.
fn fields() -> BTreeSet<String> {
    let text = format!("{:#?}", Values::default());
    let mut section = String::new();
    let mut fields = BTreeSet::new();
    for line in text.lines() {
        let name = line.trim_start().split(':').next().unwrap_or_default().to_owned();
        match line.len() - line.trim_start().len() {
            4 | 8 if line.ends_with('{') => section = name,
            8 | 12 if line.contains(": ") => _ = fields.insert(format!("{section}.{name}")),
            _ => {}
        }
    }
    fields
}

#[test]
fn the_table_has_every_field_and_no_other() {
    let options: Vec<_> =
        OPTIONS.iter().map(|option| format!("{}.{}", option.section, option.name)).collect();
    let unique: BTreeSet<_> = options.iter().cloned().collect();
    assert_eq!(unique.len(), options.len(), "twice");
    assert!(unique.len() > 20);
    assert_eq!(unique, fields());
    let sections: BTreeSet<_> = SECTIONS.iter().map(|(name, _)| *name).collect();
    assert_eq!(sections, OPTIONS.iter().map(|option| option.section).collect());
}

#[test]
fn what_is_printed_can_be_read_and_is_the_same() {
    let text = print(&Values::default());
    assert_eq!(parse(&text), Ok(Values::default()), "{text}");
    assert!(text.contains(
        "# Fewest sockets in CLOSE_WAIT of one owner: from 1 to 1000000, by default 10\nmin_count = 10\n"
    ));
    assert!(text.contains("by default \"1m\"\nage = \"1m\"\n"));
    // Every option at its other values.
    let mut other = Values::default();
    let mut file = String::new();
    for (place, option) in OPTIONS.iter().enumerate() {
        let value = match option.setting {
            value::Setting::Count(_, low, _) => (low + place as u64 + 1).to_string(),
            value::Setting::Share(..) => format!("0.{}", 101 + place),
            value::Setting::Time(_, low, _) => format!("{}.5", low.as_secs() + place as u64 + 1),
            value::Setting::Flag(_) => "false".into(),
            value::Setting::Text(_) => r#""/a \"b\"\\c""#.into(),
            value::Setting::Size(_, low, _) => format!("\"{}KiB\"", low / 1024 + 1),
        };
        let line = format!("{}.{} = {value}\n", option.section, option.name);
        let before = other.clone();
        other = parse(&(file.clone() + &line)).unwrap_or_else(|problems| panic!("{line}{problems:?}"));
        assert_ne!(other, before, "{line} sets nothing");
        file += &line;
    }
    assert_eq!(parse(&print(&other)), Ok(other));
}

#[test]
fn files_say_what_is_different() {
    for nothing in ["", "\n# only a comment\n", "[close_wait_buildup]\n"] {
        assert_eq!(parse(nothing), Ok(Values::default()), "{nothing:?}");
    }
    let text = "[close_wait_buildup]\nmin_count = 0x20\nage = 5 # seconds\nfiles_share = 1\n\n[silent_peer]\nidle_age = \"1.5h\"\n\
                [findings]\nclose_after = \"500ms\"\n";
    let thresholds = parse(text).expect("right").thresholds;
    assert_eq!(thresholds.close_wait_buildup.min_count, 32);
    assert_eq!(thresholds.close_wait_buildup.age, Duration::from_secs(5));
    assert!((thresholds.close_wait_buildup.files_share - 1.0).abs() < f64::EPSILON);
    assert_eq!(thresholds.silent_peer.idle_age, Duration::from_mins(90));
    assert_eq!(thresholds.findings.close_after, Duration::from_millis(500));
    assert_eq!(thresholds.zero_window_stall, Thresholds::default().zero_window_stall);
}

#[test]
fn times_are_read_as_people_write_them() {
    for (text, expected) in [
        ("30", 30.0),
        ("30.5", 30.5),
        ("\"30s\"", 30.0),
        ("\"2m\"", 120.0),
        ("\"1h\"", 3600.0),
        ("\"9000 ms\"", 9.0),
    ] {
        let thresholds = parse(&format!("close_wait_buildup.age = {text}")).expect(text).thresholds;
        assert_eq!(thresholds.close_wait_buildup.age, Duration::from_secs_f64(expected), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    for (text, line, reason) in [
        (
            "[close_wait_buildup]\nmin_cuont = 3\n",
            2,
            "there is no option \"min_cuont\" in [close_wait_buildup]; there is min_count, age, files_share",
        ),
        (
            "\n\n[closewait]\nmin_count = 3\n",
            3,
            "there is no section [closewait]; there is findings, close_wait_buildup, ",
        ),
        ("min_count = 3\n", 1, "\"min_count\" is in no section; write one of [findings, "),
        ("close_wait_buildup = 3\n", 1, "close_wait_buildup is a section: write [close_wait_buildup]"),
        (
            "[close_wait_buildup]\nmin_count = 0\n",
            2,
            "close_wait_buildup.min_count is 0, and may be from 1 to 1000000",
        ),
        ("[close_wait_buildup]\nmin_count = -1\n", 2, "is -1, and takes a whole number"),
        ("[close_wait_buildup]\nmin_count = 2.5\n", 2, "is 2.5, and takes a whole number"),
        ("[close_wait_buildup]\nmin_count = \"10\"\n", 2, "is \"10\", and takes a whole number"),
        ("[close_wait_buildup]\nmin_count = true\n", 2, "is of type boolean, and takes a whole number"),
        ("[close_wait_buildup]\nmin_count = 99999999999999999999\n", 2, "and takes a whole number"),
        ("[close_wait_buildup]\nmin_count = [1]\n", 2, "is of type array, and takes a whole number"),
        ("[close_wait_buildup.min_count]\nx = 1\n", 1, "is of type table, and takes a whole number"),
        ("[close_wait_buildup]\nfiles_share = 1.01\n", 2, "is 1.01, and may be from 0.01 to 1"),
        ("[close_wait_buildup]\nfiles_share = nan\n", 2, "is nan, and may be from 0.01 to 1"),
        ("[close_wait_buildup]\nfiles_share = inf\n", 2, "is inf, and may be"),
        ("[close_wait_buildup]\nfiles_share = \"80%\"\n", 2, "is \"80%\", and takes a number such as 0.8"),
        ("[close_wait_buildup]\nage = 0\n", 2, "is 0, and may be from 1s to 24h"),
        ("[close_wait_buildup]\nage = \"25h\"\n", 2, "is \"25h\", and may be from 1s to 24h"),
        ("[close_wait_buildup]\nage = \"30\"\n", 2, "is \"30\", and takes seconds, or text such as \"30s\""),
        ("[close_wait_buildup]\nage = \"3 weeks\"\n", 2, "and takes seconds, or text"),
        ("[close_wait_buildup]\nage = -5\n", 2, "is -5, and takes seconds"),
        ("[close_wait_buildup]\nage = nan\n", 2, "is nan, and takes seconds"),
        ("[close_wait_buildup]\nage = \"ms\"\n", 2, "is \"ms\", and takes seconds"),
        ("[close_wait_buildup]\nage = 2026-01-01\n", 2, "is of type datetime, and takes seconds"),
        ("[record]\nenabled = 1\n", 2, "record.enabled is 1, and takes true or false"),
        ("[record]\ndirectory = 1\n", 2, "record.directory is 1, and takes text"),
        ("[record]\nmax_size = \"5\"\n", 2, "record.max_size is \"5\", and takes bytes, or text such as"),
        ("[record]\nmax_size = \"1KiB\"\n", 2, "is \"1KiB\", and may be from 1MiB to"),
        ("[record]\nmax_size = \"99999999999999GiB\"\n", 2, "and takes bytes"),
        // What is no TOML.
        ("[close_wait_buildup\nmin_count = 3\n", 1, ""),
        ("[close_wait_buildup]\nmin_count 3\n", 2, ""),
        ("[close_wait_buildup]\n\nmin_count =\n", 3, ""),
        ("[findings]\n[close_wait_buildup]\nmin_count = 3\nmin_count = 4\n", 4, "duplicate key"),
        ("[findings]\n[findings]\n", 2, "duplicate key"),
        ("[findings]\nclose_after = \"10s\n", 2, ""),
        ("{}", 1, ""),
    ] {
        let problems = parse(text).expect_err(text);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert_eq!(problems[0].line, line, "{text}: {problems:?}");
        assert!(problems[0].reason.contains(reason), "{text}: {problems:?}");
        assert!(!problems[0].reason.is_empty());
    }
}

#[test]
fn everything_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text = "[silent_peer]\nx = 1\nmin_share = 3\n[findings]\ny = 2\n[z]\n";
    let lines: Vec<_> = parse(text).expect_err("wrong").into_iter().map(|problem| problem.line).collect();
    assert_eq!(lines, [2, 3, 5, 6]);
}

#[test]
fn a_broken_file_leaves_everything_as_it_was() {
    let path = std::env::temp_dir().join(format!("tcpwatch-config-{}.toml", std::process::id()));
    let write = |text: &str| fs::write(&path, text).expect("written");
    write("close_wait_buildup.min_count = 3\n");
    let config = Config::load(Some(&path)).expect("right");
    assert_eq!(config.values().thresholds.close_wait_buildup.min_count, 3);
    write("close_wait_buildup.min_count = 4\nclose_wait_buildup.age = 0\n");
    let error = config.reload().expect_err("out of range").to_string();
    assert!(
        error.contains("tcpwatch-config-") && error.contains("line 2: close_wait_buildup.age is 0"),
        "{error}"
    );
    assert_eq!(config.values().thresholds.close_wait_buildup.min_count, 3);
    assert!(Config::load(Some(&path)).is_err());
    write("close_wait_buildup.min_count = 4\n");
    config.reload().expect("right again");
    assert_eq!(config.values().thresholds.close_wait_buildup.min_count, 4);
    fs::remove_file(&path).expect("removed");
    let error = config.reload().expect_err("gone").to_string();
    assert!(error.starts_with("cannot read the configuration file"), "{error}");
    assert_eq!(config.values().thresholds.close_wait_buildup.min_count, 4);
}

#[test]
fn without_a_file_everything_is_default() {
    let config = Config::load(None).expect("nothing to read");
    config.reload().expect("nothing to read");
    assert_eq!(config.values().thresholds, Thresholds::default());
}
