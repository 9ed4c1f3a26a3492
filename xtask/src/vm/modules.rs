//! Kernel modules: which ones the guest gets, and in which order.
//!
//! The packages come without `modules.dep` (depmod makes it at installation),
//! so the dependencies are read from each module's own `.modinfo` section. The
//! guest then only needs `insmod`, in the order computed here.

use anyhow::Result;

/// What tests of a TCP monitor use. Debian builds all of them as modules.
pub const REQUIRED: [&str; 4] = ["tun", "veth", "tcp_diag", "udp_diag"];
/// Good to have; not every flavour ships them.
pub const OPTIONAL: [&str; 1] = ["sch_netem"];

/// Modules a module needs, from its `depends=` field.
pub fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    // Fields end with NUL, and others (license, description) come before this
    // one, so the NUL in front tells it from text that only ends alike.
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = &module[start + KEY.len()..];
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(0);
    String::from_utf8_lossy(&value[..end]).split(',').filter(|name| !name.is_empty()).map(normal).collect()
}

/// Module names and file names mix `-` and `_` freely.
pub fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Dependencies first. `load` fetches a module and returns what it depends on,
/// or none when there is no such file; those names are left out of the order.
pub fn insmod_order(
    wanted: &[&str],
    mut load: impl FnMut(&str) -> Result<Option<Vec<String>>>,
) -> Result<Vec<String>> {
    fn visit(
        name: &str,
        load: &mut impl FnMut(&str) -> Result<Option<Vec<String>>>,
        seen: &mut Vec<String>,
        order: &mut Vec<String>,
    ) -> Result<()> {
        if seen.iter().any(|other| other == name) {
            return Ok(());
        }
        seen.push(name.to_owned());
        if let Some(needed) = load(name)? {
            for other in &needed {
                visit(other, load, seen, order)?;
            }
            order.push(name.to_owned());
        }
        Ok(())
    }
    let (mut seen, mut order) = (Vec::new(), Vec::new());
    for name in wanted {
        visit(name, &mut load, &mut seen, &mut order)?;
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_dependencies() {
        let module = b"\x7fELFjunk\0license=GPL\0depends=udp-tunnel,ip6_udp_tunnel\0name=x\0";
        assert_eq!(depends(module), ["udp_tunnel", "ip6_udp_tunnel"]);
        assert!(depends(b"license=GPL\0depends=\0name=tun\0").is_empty());
        assert!(depends(b"nothing here").is_empty());
    }

    #[test]
    fn dependencies_come_first_and_once() {
        let mut loads = Vec::new();
        let order = insmod_order(&["tun", "tcp_diag", "udp_diag", "absent"], |name| {
            loads.push(name.to_owned());
            Ok(match name {
                "tcp_diag" | "udp_diag" => Some(vec!["inet_diag".into(), "builtin".into()]),
                "inet_diag" => Some(vec!["base".into()]),
                "tun" | "base" => Some(vec![]),
                _ => None,
            })
        })
        .unwrap();
        assert_eq!(order, ["tun", "base", "inet_diag", "tcp_diag", "udp_diag"]);
        let mut unique = loads.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), loads.len(), "every module is loaded once");
    }

    #[test]
    fn survives_a_cycle() {
        let order =
            insmod_order(&["a"], |name| Ok(Some(vec![if name == "a" { "b" } else { "a" }.to_owned()])));
        assert_eq!(order.unwrap(), ["b", "a"]);
    }
}
