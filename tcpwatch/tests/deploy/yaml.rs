//! Writes the little YAML that rules are made of.

/// A scalar on one line, or a block of lines that belongs `indent` deep.
pub fn scalar(text: &str, indent: usize) -> String {
    if text.contains('\n') {
        let lines: Vec<String> = text.lines().map(|line| line_of(line, indent)).collect();
        return format!("|-\n{}", lines.join("\n"));
    }
    format!("'{}'", text.replace('\'', "''"))
}

fn line_of(line: &str, indent: usize) -> String {
    if line.is_empty() { String::new() } else { format!("{}{line}", " ".repeat(indent)) }
}

/// A time as Prometheus writes it.
pub fn time(seconds: u32) -> String {
    match seconds {
        seconds if seconds >= 60 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

#[test]
fn scalars_are_quoted() {
    assert_eq!(scalar("it's {a=\"b\"}", 4), "'it''s {a=\"b\"}'");
    assert_eq!(scalar("a\n\nb", 2), "|-\n  a\n\n  b");
    assert_eq!((time(300), time(90), time(0)), ("5m".into(), "90s".into(), "0s".into()));
}
