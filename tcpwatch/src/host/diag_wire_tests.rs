//! Tests of the netlink bytes, whole, cut and corrupted.

use super::*;

const SEQ: u32 = 7;

fn message(kind: u16, flags: u16, seq: u32, body: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(seq.to_ne_bytes());
    out.extend([0; 4]);
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn tcp4() -> Vec<u8> {
    let mut body = vec![AF_INET, 1, 2, 3];
    body.extend([0x1f, 0x90, 0x01, 0xbb]); // ports 8080 and 443
    body.extend([127, 0, 0, 1]);
    body.extend([0; 12]);
    body.extend([10, 0, 0, 9]);
    body.extend([0; 12]);
    for word in [0_u32, 0x11, 0x22, 40_000, 5, 6, 1000, 777] {
        body.extend(word.to_ne_bytes());
    }
    assert_eq!(body.len(), BODY);
    body
}

fn all(datagram: &[u8]) -> Result<(Vec<DiagSocket>, Progress), DiagError> {
    let mut found = Vec::new();
    let progress = read(datagram, SEQ, &mut |s| found.push(*s))?;
    Ok((found, progress))
}

#[test]
fn request_layout() {
    let bytes = request(AF_INET6, 1 << 10, 9);
    assert_eq!(bytes.len(), 72);
    assert_eq!(bytes[..4], 72_u32.to_ne_bytes());
    assert_eq!(bytes[4..6], 20_u16.to_ne_bytes());
    assert_eq!(bytes[6..8], 0x301_u16.to_ne_bytes());
    assert_eq!(bytes[8..12], 9_u32.to_ne_bytes());
    assert_eq!(bytes[16..20], [10, 6, 0, 0]);
    assert_eq!(bytes[20..24], (1_u32 << 10).to_ne_bytes());
    assert!(bytes[24..].iter().all(|b| *b == 0));
}

#[test]
fn sockets_of_both_families() {
    let mut v6 = tcp4();
    v6[..4].copy_from_slice(&[AF_INET6, 10, 0, 0]);
    v6[8..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4]);
    v6.extend([8, 0, 1, 0, 9, 9, 9, 9]); // an attribute nobody asked for
    let mut datagram = message(SOCK_DIAG_BY_FAMILY, 2, SEQ, &tcp4());
    datagram.extend(message(SOCK_DIAG_BY_FAMILY, 2 | NLM_F_DUMP_INTR, SEQ, &v6));
    let (found, progress) = all(&datagram).unwrap();
    assert_eq!(progress, Progress { done: false, interrupted: true });
    assert_eq!(
        found[0],
        DiagSocket {
            family: 2,
            state: 1,
            timer: 2,
            retransmits: 3,
            local: "127.0.0.1:8080".parse().unwrap(),
            remote: "10.0.0.9:443".parse().unwrap(),
            cookie: 0x22_0000_0011,
            expires_ms: 40_000,
            rqueue: 5,
            wqueue: 6,
            uid: 1000,
            inode: 777,
        }
    );
    assert_eq!(found[1].local, "[::ffff:1.2.3.4]:8080".parse().unwrap());
    assert_eq!(found[1].state, 10);
}

#[test]
fn ends() {
    let done = message(NLMSG_DONE, 2, SEQ, &0_i32.to_ne_bytes());
    assert!(all(&done).unwrap().1.done);
    assert!(all(&message(NLMSG_DONE, 2, SEQ, &[])).unwrap().1.done);
    // ENOENT comes as an error or at the end of an empty dump.
    for kind in [NLMSG_DONE, NLMSG_ERROR] {
        let error = all(&message(kind, 0, SEQ, &(-2_i32).to_ne_bytes())).unwrap_err();
        assert!(matches!(error, DiagError::Unsupported { .. }), "{error}");
        let error = all(&message(kind, 0, SEQ, &(-1_i32).to_ne_bytes())).unwrap_err();
        assert!(error.to_string().contains("Operation not permitted"));
        let odd = message(kind, 0, SEQ, &i32::MIN.to_ne_bytes());
        assert!(matches!(all(&odd).unwrap_err(), DiagError::Refused { .. }));
    }
    let ack = message(NLMSG_ERROR, 0, SEQ, &[0; 20]);
    assert!(!all(&ack).unwrap().1.done);
}

#[test]
fn garbage_is_an_error() {
    let bad = |bytes: &[u8]| {
        let error = all(bytes).unwrap_err();
        assert!(matches!(error, DiagError::Malformed { .. }), "{error}");
    };
    bad(&[1; 15]);
    bad(&[0xff; 64]);
    bad(&[0; 64]); // a length of 0 must not loop
    bad(&message(NLMSG_ERROR, 0, SEQ, &[1, 2]));
    bad(&message(99, 0, SEQ, &[]));
    bad(&message(NLMSG_DONE, 0, SEQ + 1, &[]));
    bad(&message(SOCK_DIAG_BY_FAMILY, 0, SEQ, &tcp4()[..BODY - 1]));
    for (family, state) in [(0, 1), (1, 1), (2, 0), (2, 13), (10, 255)] {
        let mut body = tcp4();
        body[..2].copy_from_slice(&[family, state]);
        bad(&message(SOCK_DIAG_BY_FAMILY, 0, SEQ, &body));
    }
}

#[test]
fn no_cut_and_no_flipped_byte_panics() {
    let mut datagram = message(SOCK_DIAG_BY_FAMILY, 2, SEQ, &tcp4());
    datagram.extend(message(SOCK_DIAG_BY_FAMILY, 2, SEQ, &tcp4()));
    let whole = datagram.len() / 2;
    for end in 1..datagram.len() {
        assert_eq!(all(&datagram[..end]).is_ok(), end == whole, "{end}");
    }
    for at in 0..datagram.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut broken = datagram.clone();
            broken[at] = value;
            let _ = all(&broken);
        }
    }
}
