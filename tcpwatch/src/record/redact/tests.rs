//! Addresses and names are replaced everywhere, and what they had in common stays common.

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn the_class_of_an_address_stays_and_nothing_else() {
    let mut redactor = Redactor::default();
    for same in ["127.0.0.1", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1", "224.0.0.1", "255.255.255.255"] {
        assert_eq!(redactor.address(ip(same)), ip(same));
    }
    for (address, prefix) in [
        ("10.1.2.3", "10."),
        ("192.168.7.8", "192.168."),
        ("169.254.1.1", "169.254."),
        ("::ffff:10.1.2.3", "::ffff:10."),
        ("fe80::1", "fe80:"),
        ("fd00::1", "fd"),
        ("2a00:1450::5", "2001:db8:"),
    ] {
        let other = redactor.address(ip(address));
        assert_ne!(other, ip(address));
        assert!(other.to_string().starts_with(prefix), "{address}: {other}");
        assert_eq!(redactor.address(ip(address)), other, "the same again");
    }
    let IpAddr::V4(public) = redactor.address(ip("8.8.8.8")) else { panic!("another family") };
    assert!(public.octets()[0] >= 240 && !public.is_broadcast());
    let IpAddr::V4(private) = redactor.address(ip("172.20.0.1")) else { panic!("another family") };
    assert!(private.is_private(), "{private}");
    assert_ne!(
        Redactor::default().address(ip("2a00::1")),
        redactor.address(ip("2a00::1")),
        "another recording"
    );
}

#[test]
fn different_addresses_stay_different() {
    let mut redactor = Redactor::default();
    let all: HashSet<IpAddr> =
        (0..20_000u32).map(|n| redactor.address(IpAddr::V4((0xc0a8_0000 + n).into()))).collect();
    assert_eq!(all.len(), 20_000);
}

#[test]
fn texts_lose_the_names_of_pods() {
    let mut redactor = Redactor::default();
    let web = "web (pid 7) in pod shop/web-7d9f-abcde has 3 sockets";
    let other = redactor.text(&format!("{web} to 10.9.8.7; so has db (pid 8) in pod shop/db-0."));
    for secret in ["shop", "web-7d9f", "db-0", "10.9.8.7"] {
        assert!(!other.contains(secret), "{secret} in {other}");
    }
    let namespace = redactor.named("namespace", "shop");
    assert!(other.contains(&format!("web (pid 7) in pod {namespace}/pod-")), "{other}");
    assert!(other.contains(&format!("; so has db (pid 8) in pod {namespace}/pod-")), "{other}");
    assert!(other.contains(" has 3 sockets to 10.") && other.ends_with('.'), "{other}");
}

#[test]
fn texts_lose_their_addresses_and_ids() {
    let mut redactor = Redactor::default();
    let id = "ab12".repeat(16);
    let text = format!(
        "syn_flood:4026531840:203.0.113.9:443: 12 SYNs from [2a00::5]:443, 10.9.8.7 and 2a00::6. \
         In docker-{id}.scope, at 12:30:59, 1.5 s, dead beef."
    );
    let other = redactor.text(&text);
    for secret in ["203.0.113.9", "2a00::5", "2a00::6", "10.9.8.7", &id] {
        assert!(!other.contains(secret), "{secret} in {other}");
    }
    for kept in [
        "syn_flood:4026531840:",
        ":443: 12 SYNs from [2001:db8:",
        " and 2001:db8:",
        "In docker-",
        ".scope, at 12:30:59, 1.5 s, dead beef.",
    ] {
        assert!(other.contains(kept), "no {kept} in {other}");
    }
    let address = redactor.address(ip("203.0.113.9")).to_string();
    assert!(other.contains(&address), "the same as elsewhere");
}
