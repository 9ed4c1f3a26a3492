//! The arguments and the configuration that the pods start with, given to the program itself.

use std::fs;
use std::process::Command;

use super::objects::{self, Rendered, list, text};

/// What a kubelet puts in place of `$(NAME)`, after which there must be none left.
fn expanded(rendered: &Rendered, arg: &str) -> String {
    let values = [("NODE_NAME", "node1"), ("HOST_IP", "192.0.2.1"), ("POD_IP", "192.0.2.2")];
    let env = list(&rendered.container()["env"]);
    let is_set = |name: &str| env.iter().any(|variable| text(&variable["name"]) == name);
    let mut arg = arg.to_owned();
    for (name, value) in values.into_iter().filter(|(name, _)| is_set(name)) {
        arg = arg.replace(&format!("$({name})"), value);
    }
    // An address of IPv6 in brackets, where the host's is one.
    arg = arg.replace("[192.0.2.1]", "[2001:db8::1]");
    assert!(!arg.contains("$("), "{}: {arg} is not known in a pod", rendered.file);
    arg
}

#[test]
fn the_program_takes_the_arguments_and_the_configuration() {
    for rendered in objects::all() {
        let name = rendered.file.replace('/', "-");
        let path = std::env::temp_dir().join(format!("tcpwatch-{}-{name}.toml", std::process::id()));
        fs::write(&path, rendered.config()).expect("written");
        let mounted = rendered.arg("--config").expect("it has a configuration");
        let args = rendered
            .args()
            .into_iter()
            .map(|arg| expanded(&rendered, arg).replace(mounted, path.to_str().expect("UTF-8")));
        let mut tcpwatch = Command::new(env!("CARGO_BIN_EXE_tcpwatch"));
        // It ends after it has read both.
        let ended = tcpwatch.args(args).arg("--print-config").output().expect("it starts");
        fs::remove_file(&path).expect("removed");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{}: {told}", rendered.file);
        let printed = String::from_utf8_lossy(&ended.stdout);
        for line in rendered.config().lines().filter(|line| line.contains(" = ")) {
            let (name, value) = line.split_once(" = ").expect("an option");
            let is_same = |known: &str| same(known, value);
            let mut known = printed.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            assert!(known.any(is_same), "{}: {line} is not in effect", rendered.file);
        }
        let mount = mounted.strip_suffix("/tcpwatch.toml").expect("the file of the ConfigMap");
        assert!(
            list(&rendered.container()["volumeMounts"]).iter().any(|known| known["mountPath"] == mount),
            "{}: nothing is mounted at {mount}",
            rendered.file
        );
    }
}

/// Numbers of seconds are printed as times.
fn same(printed: &str, value: &str) -> bool {
    printed == value || printed == format!("\"{value}s\"")
}

#[test]
fn recordings_have_room_in_their_volume() {
    for rendered in objects::all() {
        let volume =
            list(&rendered.pod()["spec"]["volumes"]).iter().find(|volume| volume["name"] == "record");
        let size = rendered.config().lines().find_map(|line| line.strip_prefix("max_size = "));
        assert_eq!(volume.is_some(), size.is_some(), "{}", rendered.file);
        assert_eq!(rendered.args().contains(&"--no-record"), size.is_none(), "{}", rendered.file);
        let Some((volume, size)) = volume.zip(size) else { continue };
        let bytes = |text: &str| -> u64 {
            let text = text.trim_matches('"').trim_end_matches('B');
            let digits = text.trim_end_matches(|unit: char| unit.is_alphabetic());
            let shift = match &text[digits.len()..] {
                "Ki" => 10,
                "Mi" => 20,
                "Gi" => 30,
                unit => panic!("{unit} in {text}"),
            };
            digits.parse::<u64>().expect("a number") << shift
        };
        if let Some(limit) = volume["emptyDir"]["sizeLimit"].as_str() {
            // The kubelet evicts a pod that has more, and counts what file systems take besides.
            assert!(bytes(limit) >= bytes(size) * 5 / 4, "{}: {limit} for {size}", rendered.file);
        }
    }
}
