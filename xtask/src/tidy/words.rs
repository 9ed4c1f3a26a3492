//! Who may use what: each library, and each way out of the program, has its place.

use super::Violation;
use super::source::Source;

/// Words that may stand in some places only.
struct Rule {
    name: &'static str,
    words: &'static [&'static str],
    /// Beginnings of the paths where it is looked for.
    within: &'static [&'static str],
    /// Beginnings of the paths where it may be.
    except: &'static [&'static str],
    /// Whether tests have to keep it, too.
    tests: bool,
    /// Whether the words may be parts of strings.
    strings: bool,
    why: &'static str,
}

const BASE: Rule =
    Rule { name: "", words: &[], within: &[""], except: &[], tests: true, strings: false, why: "" };

const RULES: &[Rule] = &[
    Rule {
        name: "aya",
        words: &["aya", "aya_ebpf", "aya_log", "aya_log_ebpf", "aya_obj"],
        except: &["tcpwatch/src/kernel", "tcpwatch-ebpf/", "tcpwatch/tests/"],
        why: "only tcpwatch::kernel talks to the eBPF programs",
        ..BASE
    },
    Rule {
        name: "prometheus",
        words: &["prometheus"],
        within: &["tcpwatch"],
        except: &["tcpwatch/src/serve/metrics"],
        why: "only serve::metrics knows the metrics library",
        ..BASE
    },
    Rule {
        name: "axum",
        words: &["axum"],
        except: &["tcpwatch/src/serve"],
        why: "only tcpwatch::serve talks HTTP",
        ..BASE
    },
    Rule {
        name: "kube",
        words: &["kube", "k8s_openapi"],
        except: &["tcpwatch/src/pods"],
        why: "only tcpwatch::pods asks the cluster",
        ..BASE
    },
    Rule {
        name: "clap",
        words: &["clap"],
        except: &["tcpwatch/src/cli", "tcpwatch/src/main.rs"],
        why: "only tcpwatch::cli knows the command line",
        ..BASE
    },
    Rule {
        name: "ratatui",
        words: &["ratatui", "crossterm"],
        except: &["tcpwatch/src/top", "tcpwatch/src/cli/top"],
        why: "only tcpwatch::top draws screens, and cli::top owns the terminal",
        ..BASE
    },
    Rule {
        name: "serde",
        words: &["serde"],
        except: &[
            "tcpwatch/src/view",
            "tcpwatch/src/record",
            "tcpwatch/src/config",
            "tcpwatch/src/pods/wire.rs",
        ],
        why: "inner types stay free of formats, which have types of their own in view, record and config",
        ..BASE
    },
    Rule {
        name: "json",
        words: &["serde_json"],
        within: &["tcpwatch"],
        except: &[
            "tcpwatch/src/view",
            "tcpwatch/src/record",
            "tcpwatch/src/config",
            "tcpwatch/src/pods/wire.rs",
            "tcpwatch/src/serve",
            "tcpwatch/src/cli",
        ],
        tests: false,
        why: "JSON is made at the border: view, record, config, serve and cli",
        ..BASE
    },
    Rule {
        name: "host",
        words: &["rustix", "\"/proc", "\"/sys"],
        within: &["tcpwatch/src"],
        except: &["tcpwatch/src/host", "tcpwatch/src/kernel", "tcpwatch/src/lab", "tcpwatch/src/prove"],
        tests: false,
        strings: true,
        why: "only tcpwatch::host and tcpwatch::kernel ask the machine; lab and prove make a network of their own",
    },
    Rule {
        name: "clock",
        words: &["Instant::now", "SystemTime::now"],
        within: &["tcpwatch/src/model", "tcpwatch/src/detect", "tcpwatch-common/"],
        why: "time is an argument here, so that records can be replayed",
        ..BASE
    },
    Rule {
        name: "unsafe",
        words: &["unsafe"],
        except: &["tcpwatch/src/kernel", "tcpwatch-ebpf/", "tcpwatch/tests/", "tcpwatch/benches/"],
        why: "only tcpwatch::kernel and the eBPF programs go around the compiler",
        ..BASE
    },
    Rule {
        name: "unfinished",
        words: &["todo!", "unimplemented!", "dbg!", "#[ignore"],
        why: "finish it, or leave it out",
        ..BASE
    },
];

pub fn check(source: &Source) -> Vec<Violation> {
    RULES.iter().flat_map(|rule| rule.check(source)).collect()
}

impl Rule {
    fn check(&self, source: &Source) -> Vec<Violation> {
        let is_in = |places: &[&str]| places.iter().any(|place| source.path.starts_with(place));
        if !is_in(self.within) || is_in(self.except) {
            return Vec::new();
        }
        let lines = if self.strings { &source.text } else { &source.code };
        let mut violations = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            let word = self.words.iter().find(|word| has_word(line, word));
            if let Some(word) = word
                && (self.tests || !source.is_test(index))
            {
                violations.push(Violation {
                    path: source.path.clone(),
                    line: index + 1,
                    rule: self.name,
                    message: format!("`{word}` does not belong here: {}", self.why),
                });
            }
        }
        violations
    }
}

/// Whether `word` is in the line and not a part of a longer name.
pub fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let longer_before = word.starts_with(is_name) && before.ends_with(is_name);
        let longer_after = word.ends_with(is_name) && after.starts_with(is_name);
        !longer_before && !longer_after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> Vec<String> {
        let place = |violation: Violation| format!("{} {}", violation.line, violation.rule);
        check(&Source::new(path, text)).into_iter().map(place).collect()
    }

    #[test]
    fn libraries_have_their_places() {
        let text = "use aya::Ebpf;\nuse prometheus::Opts;\nuse axum::Router;\nuse clap::Parser;\nuse serde::Serialize;\n\
            use ratatui::Frame;\n";
        let all = ["1 aya", "2 prometheus", "3 axum", "4 clap", "6 ratatui", "5 serde"];
        assert_eq!(broken("tcpwatch/src/model/table.rs", text), all);
        for (path, line, rule) in [
            ("tcpwatch/src/kernel/load.rs", 0, "1 aya"),
            ("tcpwatch/src/serve/metrics/hosts.rs", 1, "2 prometheus"),
            ("tcpwatch/src/serve/http.rs", 2, "3 axum"),
            ("tcpwatch/src/main.rs", 3, "4 clap"),
            ("tcpwatch/src/view.rs", 4, "5 serde"),
            ("tcpwatch/src/top/draw/mod.rs", 5, "6 ratatui"),
        ] {
            let line = text.lines().nth(line).unwrap();
            assert!(broken(path, line).is_empty(), "{path}: {line}");
            let rule = format!("1{}", &rule[1..]);
            assert_eq!(broken("tcpwatch/src/detect/burst.rs", line), [rule], "{line}");
        }
    }

    #[test]
    fn only_whole_words_count() {
        let text = "use aya_build::Package;\n#![deny(unsafe_code)]\nlet clapped = is_unsafe();\n// unsafe\n\"aya\";\n";
        assert!(broken("tcpwatch/src/model/table.rs", text).is_empty());
    }

    #[test]
    fn the_machine_is_asked_in_one_place() {
        let text = "read(\"/proc/net/tcp\");\nprintln!(\"mount /sys first\");\nopen(\"/sysroot\");\n";
        assert_eq!(broken("tcpwatch/src/detect/burst.rs", text), ["1 host"]);
        assert!(broken("tcpwatch/src/host/procfs.rs", text).is_empty());
        let tests = format!("\n#[cfg(test)]\nmod tests {{\n{text}}}\n");
        assert!(broken("tcpwatch/src/detect/burst.rs", &tests).is_empty());
    }

    #[test]
    fn the_core_has_no_clock() {
        let text = "let now = std::time::Instant::now();\nlet then = SystemTime::now();\n";
        assert_eq!(broken("tcpwatch/src/model/table.rs", text), ["1 clock", "2 clock"]);
        assert_eq!(broken("tcpwatch-common/src/state.rs", text), ["1 clock", "2 clock"]);
        assert!(broken("tcpwatch/src/daemon.rs", text).is_empty());
    }

    #[test]
    fn nothing_unfinished_stays() {
        let text = "todo!();\nunimplemented!()\ndbg!(x);\n#[ignore = \"later\"]\nmy_todo!();\n#[ignored]\n";
        let expected = ["1 unfinished", "2 unfinished", "3 unfinished", "4 unfinished"];
        assert_eq!(broken("tcpwatch/tests/live/main.rs", text), expected);
    }

    #[test]
    fn unsafe_is_in_the_kernel_module() {
        for (path, count) in [
            ("tcpwatch/src/host/netns.rs", 1),
            ("tcpwatch/src/kernel/ring.rs", 0),
            ("tcpwatch-ebpf/src/read.rs", 0),
            ("tcpwatch/tests/live/net.rs", 0),
        ] {
            assert_eq!(broken(path, "unsafe { f() }\n").len(), count, "{path}");
        }
    }
}
