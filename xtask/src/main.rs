//! Everything a developer runs, from bringing the tools to booting other kernels.
//!
//! Each command lives in the file of its name, and this one only finds it. `ci` is the other commands in order:
//! what the gate runs, anybody can run alone.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool talks to its terminal")]

mod arch;
mod bench;
mod build;
mod ci;
mod container;
mod demo;
mod elf;
mod grafana;
mod image;
mod interrupt;
mod kubernetes;
mod packages;
mod process;
mod project;
mod run;
mod setup;
mod test;
mod tidy;
mod vm;

use std::env;
use std::process::ExitCode;

use anyhow::Result;
use project::Project;

const USAGE: &str = "\
Usage: cargo xtask <COMMAND>

  setup           bring the compiler parts and the BPF linker that are missing
  build           build the static release binary, target/dist/tcpwatch
  build --arch ARCH  the same for x86_64 or aarch64, target/dist/ARCH/tcpwatch if this machine is no ARCH
  image           build it for both architectures, and an image of both, target/dist/tcpwatch-image.tar
  container       run such an image under podman and docker, and see what it sees
  run [ARGS…]     build, then start `tcpwatch run ARGS` as root
  test [FILTER…]  run the unit tests and the live tests, these as root
  demo            show a leak from its first connection to the alert, with a real Prometheus
  demo container  the same with tcpwatch and the leaking server in containers
  bench [ARGS…]   measure what watching costs, as root
  vm [SUITE…]     run the live tests on the kernels of Debian suites, under QEMU
  grafana         hold the dashboards against the types that Grafana publishes (npm)
  kubernetes      check the Helm chart and the manifests with Helm and the schemas of Kubernetes
  systemd [SUITE…]  install, run, upgrade and remove tcpwatch under a real systemd, under QEMU
  tidy            check the rules between the modules, the links and the metric names
  ci              the gate: those of the above that say whether all is well, but `systemd`, and what cargo checks

Examples:
  cargo xtask test                    everything
  cargo xtask test proc_net           tests with proc_net in their names
  cargo xtask vm bullseye sid         the oldest and the newest kernel only
  cargo xtask vm trixie:arm64         a kernel of another architecture
  cargo xtask kubernetes renew        take over what Helm renders into deploy/kubernetes
  cargo xtask kubernetes cluster      run the chart on a real cluster of one node, as root
  cargo xtask run --help              what the daemon can be told
  cargo xtask image --arch x86_64     an image for one architecture, in half the time
  cargo xtask image again             the same again from another folder: is it the same image?

CARGO_TARGET_DIR moves target/. DEBIAN_MIRROR=<address> is where `vm` finds kernels.
";

/// `EX_USAGE` of sysexits(3).
const BAD_USAGE: u8 = 64;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", args.as_slice()),
    };
    let is_help = |arg: &str| matches!(arg, "help" | "--help" | "-h");
    // What `run` and `bench` start has a help of its own.
    if is_help(command) || (!matches!(command, "run" | "bench") && rest.iter().any(|arg| is_help(arg))) {
        print!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    match dispatch(command, rest) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        None => {
            eprint!("error: there is no `cargo xtask {}`\n\n{USAGE}", args.join(" "));
            ExitCode::from(BAD_USAGE)
        }
    }
}

/// None when there is no such command, or when it does not take these arguments.
fn dispatch(command: &str, args: &[String]) -> Option<Result<()>> {
    let found = Project::find();
    let Ok(project) = &found else { return found.err().map(Err) };
    let names = !args.iter().any(|arg| arg.starts_with('-'));
    match command {
        "setup" if args.is_empty() => Some(setup::command(project)),
        "build" => Some(
            named_arch(args)?
                .and_then(|arch| build::build_for(project, arch.unwrap_or(project.host)).map(drop)),
        ),
        "image" => {
            let again = args.first().is_some_and(|arg| arg == "again");
            Some(named_arch(&args[usize::from(again)..])?.and_then(|arch| {
                let archs = arch.map_or(arch::ALL.to_vec(), |arch| vec![arch]);
                if again {
                    image::reproduce(project, &archs)
                } else {
                    image::build(project, &archs).map(drop)
                }
            }))
        }
        "container" if args.is_empty() => Some(container::command(project)),
        "container" if args.len() == 2 => Some(container::check(project, args[0].as_ref(), args[1].as_ref())),
        "run" => Some(run::run(project, args)),
        "test" if names => Some(test::test(project, args)),
        "bench" => Some(bench::bench(project, args)),
        "vm" if names => Some(vm::command::live(project, args)),
        "demo" if args.is_empty() => Some(demo::demo(project, false)),
        "demo" if args == ["container"] => Some(demo::demo(project, true)),
        "grafana" if args.is_empty() => Some(grafana::grafana(project)),
        "kubernetes" => kubernetes::command(project, args),
        "systemd" if names => Some(vm::systemd::command(project, args)),
        "tidy" if args.is_empty() => Some(tidy::tidy(project)),
        "ci" if args.is_empty() => Some(ci::ci(project)),
        _ => None,
    }
}

/// The architecture that `--arch` names, if it is there. None if there is anything else.
fn named_arch(args: &[String]) -> Option<Result<Option<&'static arch::Arch>>> {
    let name = match args {
        [] => return Some(Ok(None)),
        [option, name] if option == "--arch" => name,
        [option] => option.strip_prefix("--arch=")?,
        _ => return None,
    };
    Some(arch::named(name).map(Some))
}
