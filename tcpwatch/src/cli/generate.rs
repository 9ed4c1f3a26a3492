//! `tcpwatch completions` and `tcpwatch man`: made from the definitions of the command line itself.

use std::io::{self, Write};

use anyhow::Result;
use clap::{Args, Command, CommandFactory as _, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{BadUsage, Cli, Outcome};

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(tcpwatch completions bash)             for this shell
  tcpwatch completions bash > tcpwatch.bash       to be put into /etc/bash_completion.d
  tcpwatch completions zsh > _tcpwatch            to be put into a directory of $fpath
  tcpwatch completions fish > tcpwatch.fish       to be put into ~/.config/fish/completions";

const MAN_EXAMPLES: &str = "\
Examples:
  tcpwatch man | man -l -                         the page of tcpwatch itself
  tcpwatch man findings > tcpwatch-findings.1     the page of a command";

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell.
    shell: For,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
#[command(after_help = MAN_EXAMPLES)]
pub(super) struct ManArgs {
    /// The command; without it the page of tcpwatch itself.
    command: Option<String>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<Outcome> {
    let shell = match args.shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
    };
    // Into memory: the library panics if its output is closed.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tcpwatch", &mut text);
    io::stdout().lock().write_all(&text)?;
    Ok(Outcome::Fine)
}

pub(super) fn man(args: &ManArgs) -> Result<Outcome> {
    let mut root = Cli::command();
    // Gives commands the options that all of them have, and their full names.
    root.build();
    let names = || root.get_subcommands().map(Command::get_name).filter(|name| *name != "help");
    let command = match &args.command {
        None => &root,
        Some(name) => root.find_subcommand(name).filter(|_| name != "help").ok_or_else(|| {
            let names: Vec<&str> = names().collect();
            BadUsage(format!("there is no command {name:?}; there is {}", names.join(", ")))
        })?,
    };
    io::stdout().lock().write_all(&page(command)?)?;
    Ok(Outcome::Fine)
}

/// A page in roff.
fn page(command: &Command) -> Result<Vec<u8>> {
    let man = Man::new(command.clone());
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(after) = command.get_after_help() {
        text.extend(sections(&after.to_string()).into_bytes());
    }
    if command.get_version().is_some() {
        man.render_version_section(&mut text)?;
    }
    Ok(text)
}

/// What stands below the options in the help: its paragraphs are sections, and examples keep their lines.
fn sections(after: &str) -> String {
    after.split("\n\n").map(section).collect()
}

fn section(paragraph: &str) -> String {
    let Some((title, rest)) = paragraph.split_once(':') else {
        return format!(".PP\n{}\n", escape(paragraph));
    };
    let title = if title == "Exit codes" { "EXIT STATUS".into() } else { title.to_uppercase() };
    let title = format!(".SH {}\n", escape(&title));
    let lines = |text: &str| -> String {
        text.lines().map(|line| escape(line.strip_prefix("  ").unwrap_or(line)) + "\n").collect()
    };
    match rest.strip_prefix('\n') {
        Some(rest) => format!("{title}.nf\n{}.fi\n", lines(rest)),
        None => format!("{title}{}", lines(rest.trim())),
    }
}

/// A line that means nothing to roff.
fn escape(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
    if line.starts_with('.') { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn examples_keep_their_lines_and_mean_nothing_to_roff() {
        let text = sections("Examples:\n  a 'b' \\ --c\n  .d\n\nExit codes: 0 fine,\n1 not.");
        assert_eq!(
            text,
            ".SH EXAMPLES\n.nf\na \\(aqb\\(aq \\e \\-\\-c\n\\&.d\n.fi\n.SH EXIT STATUS\n0 fine,\n1 not.\n"
        );
    }

    #[test]
    fn every_command_has_a_page_and_examples() {
        let mut root = Cli::command();
        root.build();
        for command in root.get_subcommands().filter(|command| command.get_name() != "help").chain([&root]) {
            let page = String::from_utf8(page(command).expect("memory")).expect("UTF-8");
            let name = command.get_display_name().unwrap_or(command.get_name());
            assert!(page.contains(&format!(".TH {name} 1")), "{page}");
            assert!(page.contains("\n.SH NAME\n") && page.contains("\n.SH SYNOPSIS\n"), "{page}");
            assert!(page.contains("\n.SH EXAMPLES\n.nf\n"), "{name} has no examples");
            assert!(page.contains("\\-\\-verbose"), "{name} lacks the options of all commands");
        }
    }
}
