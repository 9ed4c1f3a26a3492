//! What has to be true of tcpwatch in a container.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::engine::{Container, Engine};
use super::watch::{self, Watch};
use super::{PATIENCE, host, leak};
use crate::project::Project;

/// The image that people build by themselves starts and says the same.
pub fn containerfile(project: &Project, engine: &Engine, image: &str) -> Result<()> {
    let built = engine.build(&project.root.join("deploy/Containerfile"), &project.target.join("dist"))?;
    let format = "{{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.User}} {{.Config.WorkingDir}}";
    let tell = |image: &str| engine.tell(&["image", "inspect", "--format", format, image]);
    let (theirs, ours) = (tell(&built)?, tell(image)?);
    ensure!(theirs == ours, "deploy/Containerfile makes {theirs:?}, `cargo xtask image` {ours:?}");
    let container = engine.run(&built, &["--network=none"], &["--version"])?;
    let (code, said) = (container.wait()?, container.log()?);
    ensure!(code == "0" && image.ends_with(&said.trim().replace(' ', ":")), "{code}: {said}");
    Ok(())
}

/// With `BPF` and `PERFMON` alone the programs run, and what is lost is said. Older engines' filters of system calls keep
/// `bpf` from those without `SYS_ADMIN`.
pub fn least(engine: &Engine, image: &str) -> Result<()> {
    let more = ["--cap-add=BPF", "--cap-add=PERFMON", "--security-opt=seccomp=unconfined"];
    let container = engine.run(image, &[&watch::OPTIONS[..], &more].concat(), &["doctor"])?;
    let code = container.wait()?;
    let said = container.log()?;
    ensure!(code == "1" && said.contains("eBPF          works"), "{code}: {said}");
    ensure!(said.contains("LOST without CAP_SYS_ADMIN: "), "it does not say what is missing: {said}");
    Ok(())
}

/// It has the rights that it was given and no others.
pub fn rights(container: &Container<'_>) -> Result<()> {
    let pid = container.pid()?;
    let read = |file| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    };
    let status = read("status")?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let given = watch::CAPABILITIES.iter().fold(0_u64, |set, (number, _)| set | 1 << number);
    for name in ["CapEff:", "CapPrm:", "CapBnd:"] {
        let set = field(name).and_then(|set| u64::from_str_radix(set, 16).ok());
        ensure!(set == Some(given), "{name} {set:x?} instead of {given:x}");
    }
    ensure!(field("NoNewPrivs:") == Some("1"), "it may gain privileges");
    ensure!(field("Seccomp:") == Some("2"), "the engine's system call filter is off");
    let mounts = read("mountinfo")?;
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).context("there is no root")?;
    let options = root.split(' ').nth(5).unwrap_or_default();
    ensure!(options.split(',').any(|option| option == "ro"), "the root can be written to: {root}");
    Ok(())
}

/// It sees what listens on the host, `address` of this process, and what leaks in a container, by all ways there are.
pub fn seen(watch: &Watch<'_>, leaking: &Container<'_>, address: &str) -> Result<String> {
    let label = format!(r#"container="{}""#, leaking.short());
    let finding = host::wait("the leak is found", PATIENCE, || {
        let metrics = watch.get("/metrics")?;
        let of_leak = |line: &&str| {
            line.starts_with("tcpwatch_finding_active{")
                && line.contains(r#"kind="close_wait_buildup""#)
                && line.contains(r#"process="leak""#)
                && line.contains(&label)
                && line.ends_with("} 1")
        };
        Ok(metrics.lines().find(of_leak).map(str::to_owned))
    })?;
    let findings = watch.get("/api/v1/findings")?;
    let (count, id) = (format!(r#""count":{}"#, leak::COUNT), leaking.id.as_str());
    // Other containers of this host may leak, too.
    let mut each = findings.split(r#"{"id":""#).filter(|one| one.starts_with("close_wait_buildup:"));
    let one = each.find(|one| one.contains(id)).with_context(|| format!("{id} is not in {findings}"))?;
    ensure!(one.contains(&count), "{count} is not in {one}");

    // As the person on call would look.
    let listeners = watch.container.exec(&["/tcpwatch", "netstat", "--listening"])?;
    let is_told = |address: &str, owner: &str| {
        listeners.lines().any(|line| line.starts_with(&format!("{address} ")) && line.contains(owner))
    };
    for (address, owner) in [
        (address, format!("xtask[{}]", std::process::id())),
        (&*format!("127.0.0.1:{}", leak::PORT), leaking.short().to_owned()),
    ] {
        ensure!(is_told(address, &owner), "{address} of {owner} is not among the listeners:\n{listeners}");
    }
    Ok(format!("{finding}, in {}", leaking.short()))
}
