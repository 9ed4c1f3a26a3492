//! The walker on hand-made blobs, whole, truncated and corrupted, and on the running kernel's.

#![allow(clippy::cast_possible_truncation, reason = "the blobs here are small")]

use super::raw::*;
use super::*;

/// Writes a blob type by type; every method returns the id of the type it added.
struct Blob {
    types: Vec<u32>,
    strings: Vec<u8>,
    last: u32,
}

impl Blob {
    fn new() -> Blob {
        Blob { types: Vec::new(), strings: vec![0], last: 0 }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        offset
    }

    fn add(&mut self, kind: u32, name: &str, vlen: usize, word: u32, body: &[u32]) -> u32 {
        let name = self.name(name);
        self.types.extend([name, kind << 24 | vlen as u32, word]);
        self.types.extend(body);
        self.last += 1;
        self.last
    }

    fn int(&mut self, name: &str, size: u32) -> u32 {
        self.add(INT, name, 0, size, &[size * 8])
    }

    fn refer(&mut self, kind: u32, name: &str, to: u32) -> u32 {
        self.add(kind, name, 0, to, &[])
    }

    fn array(&mut self, of: u32, len: u32) -> u32 {
        self.add(ARRAY, "", 0, 0, &[of, 1, len])
    }

    fn fields(&mut self, kind: u32, name: &str, size: u32, members: &[(&str, u32, u32)]) -> u32 {
        let body: Vec<u32> = members.iter().flat_map(|&(name, ty, at)| [self.name(name), ty, at]).collect();
        self.add(kind, name, members.len(), size, &body)
    }

    fn bytes(&self) -> Vec<u8> {
        let types_len = self.types.len() as u32 * 4;
        let mut blob = MAGIC.to_ne_bytes().to_vec();
        blob.extend([VERSION, 0]);
        for word in [24, 0, types_len, types_len, self.strings.len() as u32].iter().chain(&self.types) {
            blob.extend(word.to_ne_bytes());
        }
        blob.extend(&self.strings);
        blob
    }

    fn parse(&self) -> Btf {
        Btf::parse(self.bytes()).unwrap()
    }
}

/// The kind bits with `kind_flag` set.
const fn flagged(kind: u32) -> u32 {
    kind | 0x80
}

fn bits(width: u32, at: u32) -> u32 {
    width << 24 | at
}

/// A blob with every kind of type in it.
fn sample() -> Blob {
    let mut blob = Blob::new();
    let byte = blob.int("unsigned char", 1);
    let int = blob.int("int", 4);
    let pointer = blob.refer(PTR, "", 0);

    let boxed = blob.fields(STRUCT, "box", 8, &[("net", pointer, 0)]);
    let tagged = blob.refer(TYPE_TAG, "rcu", boxed);
    let constant = blob.refer(CONST, "", tagged);
    let volatile = blob.refer(VOLATILE, "", constant);
    let restrict = blob.refer(RESTRICT, "", volatile);
    let box_t = blob.refer(TYPEDEF, "box_t", restrict);

    let ports = blob.fields(STRUCT, "", 4, &[("dport", byte, 0), ("num", byte, 8)]);
    let either = blob.fields(UNION, "", 4, &[("pair", int, 0), ("", ports, 0)]);
    let row = blob.array(int, 3);
    let grid = blob.array(row, 2);
    let sock_members = [
        ("skc_net", box_t, bits(0, 0)),
        ("", either, bits(0, 64)),
        ("narrow", int, bits(3, 98)),
        ("grid", grid, bits(0, 128)),
        ("peer", 0, bits(0, 320)),
        ("open", row, bits(0, 321)),
    ];
    let sock = blob.fields(flagged(STRUCT), "sock", 40, &sock_members);
    let to_sock = blob.refer(PTR, "", sock);
    let three_bits = blob.add(INT, "", 0, 4, &[2 << 16 | 3]);
    blob.fields(
        STRUCT,
        "old",
        16,
        &[("plain", int, 0), ("narrow", three_bits, 32), ("odd", byte, 67), ("sk", to_sock, 64)],
    );

    let names = ["NONE", "LAST", "LESS", "HUGE"].map(|name| blob.name(name));
    let [none, last, less, huge] = names;
    blob.add(ENUM, "state", 2, 4, &[none, 0, last, u32::MAX]);
    blob.add(flagged(ENUM), "signed", 1, 4, &[less, u32::MAX]);
    blob.add(ENUM, "state", 0, 4, &[]);
    blob.add(ENUM64, "wide", 2, 8, &[huge, 1, 2, less, u32::MAX, u32::MAX]);

    let proto = blob.add(FUNC_PROTO, "", 4, 0, &[0, pointer, 0, to_sock, 0, int, 0, int]);
    let to_proto = blob.refer(PTR, "", proto);
    blob.refer(TYPEDEF, "btf_trace_set_state", to_proto);
    blob.refer(TYPEDEF, "btf_trace_no_proto", int);

    blob.refer(FWD, "later", 0);
    blob.refer(FUNC, "tcp_close", proto);
    let var = blob.add(VAR, "jiffies", 0, int, &[1]);
    blob.add(DATASEC, ".data", 1, 4, &[var, 0, 4]);
    blob.add(FLOAT, "float", 0, 4, &[]);
    blob.add(DECL_TAG, "kfunc", 0, sock, &[u32::MAX]);

    blob.fields(STRUCT, "twin", 8, &[("same", int, 0), ("differs", int, 32), ("one_has", byte, 56)]);
    blob.fields(STRUCT, "twin", 9, &[("same", int, 0), ("differs", int, 40)]);
    blob
}

/// Asks everything there is to ask; only panics and hangs can fail it.
fn ask_everything(btf: &Btf) {
    for strukt in ["box", "sock", "old", "twin", "looped", "", "nothing"] {
        for path in
            ["skc_net.net", "num", "narrow", "grid", "peer", "odd", "sk.num", "differs", "net", "", "."]
        {
            let _ = btf.member(strukt, path);
        }
    }
    for name in ["state", "signed", "wide", "box_t", ""] {
        let _ = btf.enumerators(name);
    }
    for name in ["set_state", "no_proto", ""] {
        let _ = btf.tracepoint_args(name);
    }
}

fn member(offset: u32, size: u32) -> Member {
    Member { offset, size }
}

#[test]
fn finds_members_through_anonymous_and_qualified_types() {
    let btf = sample().parse();
    assert_eq!(btf.member("sock", "skc_net").unwrap(), member(0, 8));
    assert_eq!(btf.member("sock", "skc_net.net").unwrap(), member(0, 8));
    assert_eq!(btf.member("sock", "pair").unwrap(), member(8, 4));
    assert_eq!(btf.member("sock", "num").unwrap(), member(9, 1));
    assert_eq!(btf.member("sock", "grid").unwrap(), member(16, 24));
    assert_eq!(btf.member("old", "sk").unwrap(), member(8, 8));
}

#[test]
fn says_which_struct_or_member_is_missing() {
    let btf = sample().parse();
    for path in ["dsport", "", "skc_net.", "skc_net.net.x", "pair.num", "skc_net.num"] {
        let error = btf.member("sock", path).unwrap_err();
        assert!(matches!(error, BtfError::NoMember { .. }), "{path}: {error}");
        assert_eq!(
            error.to_string(),
            format!("no member \"{path}\" in struct \"sock\" (pointers are not followed)")
        );
    }
    assert!(matches!(btf.member("old", "sk.num"), Err(BtfError::NoMember { .. })));
    for name in ["box_t", "later", "sockk", "soc", ""] {
        assert!(matches!(btf.member(name, "x"), Err(BtfError::NoStruct { .. })), "{name}");
    }
}

#[test]
fn refuses_bitfields_as_members() {
    let btf = sample().parse();
    assert!(matches!(btf.member("sock", "narrow"), Err(BtfError::Bitfield { bits: 3, .. })));
    assert!(matches!(btf.member("old", "narrow"), Err(BtfError::Bitfield { bits: 3, .. })));
}

#[test]
fn refuses_members_without_size_or_at_impossible_places() {
    let btf = sample().parse();
    let flaw = |path| match btf.member("sock", path) {
        Err(BtfError::Corrupt { flaw, .. }) => flaw,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(flaw("peer"), Flaw::Size { id: 0 });
    assert!(matches!(flaw("open"), Flaw::Place { .. }));
}

#[test]
fn structs_of_one_name_must_agree_on_what_is_asked() {
    let btf = sample().parse();
    assert_eq!(btf.member("twin", "same").unwrap(), member(0, 4));
    assert_eq!(btf.member("twin", "one_has").unwrap(), member(7, 1));
    assert!(matches!(btf.member("twin", "differs"), Err(BtfError::Ambiguous { .. })));
}

#[test]
fn counts_tracepoint_arguments_without_the_private_pointer() {
    let btf = sample().parse();
    assert_eq!(btf.tracepoint_args("set_state"), Some(3));
    assert_eq!(btf.tracepoint_args("no_proto"), None);
    assert_eq!(btf.tracepoint_args("set"), None);
}

#[test]
fn reads_enumerators_of_both_widths() {
    let btf = sample().parse();
    let values = |name| btf.enumerators(name).unwrap();
    let pair = |value, name: &str| (value, name.to_string());
    assert_eq!(values("state"), [pair(0, "NONE"), pair(0xffff_ffff, "LAST")]);
    assert_eq!(values("signed"), [pair(-1, "LESS")]);
    assert_eq!(values("wide"), [pair(0x2_0000_0001, "HUGE"), pair(-1, "LESS")]);
    assert!(matches!(btf.enumerators("sock"), Err(BtfError::NoEnum { .. })));
}

#[test]
fn refuses_what_is_not_btf_of_this_machine() {
    let with = |at: usize, byte| {
        let mut blob = sample().bytes();
        blob[at] = byte;
        Btf::parse(blob).unwrap_err()
    };
    assert!(matches!(with(0, 0), BtfError::NotBtf { .. }));
    assert!(matches!(with(2, 9), BtfError::Version { found: 9 }));
    assert!(matches!(with(24 + 7, 20), BtfError::Corrupt { flaw: Flaw::Kind { id: 1, kind: 20 }, .. }));

    let mut foreign = sample().bytes();
    foreign.swap(0, 1);
    assert!(matches!(Btf::parse(foreign), Err(BtfError::OtherEndian)));
    assert!(matches!(Btf::parse(Vec::new()), Err(BtfError::Truncated { section: "header", .. })));

    let error = Btf::load(Path::new("/nowhere/vmlinux")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read btf from /nowhere/vmlinux: "), "{error}");
    let error = Btf::load(Path::new("/dev/null")).unwrap_err().to_string();
    assert!(error.starts_with("cannot use btf of /dev/null: "), "{error}");
}

#[test]
fn cycles_end_in_an_error() {
    let mut blob = Blob::new();
    let int = blob.int("int", 4);
    let typedef = blob.last + 1;
    blob.refer(TYPEDEF, "round", typedef + 1);
    blob.refer(CONST, "", typedef);
    let array = blob.last + 1;
    blob.array(array, 1);
    let me = blob.last + 1;
    let members = [("", me, 0), ("", me, 0), ("end", int, 0), ("round", typedef, 0), ("nested", array, 0)];
    blob.fields(STRUCT, "looped", 4, &members);
    blob.refer(TYPEDEF, "btf_trace_round", typedef);
    blob.fields(STRUCT, "dangling", 4, &[("x", 99, 0)]);

    let btf = blob.parse();
    assert_eq!(btf.member("looped", "end").unwrap(), member(0, 4));
    assert!(matches!(btf.member("looped", "nothing"), Err(BtfError::NoMember { .. })));
    for path in ["round", "round.x", "nested"] {
        let error = btf.member("looped", path).unwrap_err();
        assert!(matches!(error, BtfError::Corrupt { flaw: Flaw::Chain { .. }, .. }), "{path}: {error}");
    }
    assert_eq!(btf.tracepoint_args("round"), None);
    let error = btf.member("dangling", "x").unwrap_err();
    assert_eq!(
        error.to_string(),
        "corrupt btf, looking for member \"x\" of struct \"dangling\": \
         something refers to type 99, but the last is 7"
    );
}

#[test]
fn survives_truncation_at_every_byte() {
    let whole = sample().bytes();
    let types_len = sample().types.len() * 4;
    for len in 0..whole.len() {
        assert!(Btf::parse(whole[..len].to_vec()).is_err(), "{len}");
    }
    // the same with a header that admits it, so that the sections themselves are short
    let patched = |at: usize, len: usize| {
        let mut blob = whole.clone();
        blob[at..at + 4].copy_from_slice(&(len as u32).to_ne_bytes());
        Btf::parse(blob)
    };
    for len in 0..=types_len {
        let _ = patched(12, len).as_ref().map(ask_everything);
    }
    for len in 0..=whole.len() - types_len - 24 {
        let _ = patched(20, len).as_ref().map(ask_everything);
    }
}

#[test]
fn survives_any_byte_being_wrong() {
    let whole = sample().bytes();
    for at in 0..whole.len() {
        for flip in [0x01, 0x02, 0x08, 0x40, 0x80, 0xff] {
            let mut blob = whole.clone();
            blob[at] ^= flip;
            let _ = Btf::parse(blob).as_ref().map(ask_everything);
        }
    }
}

#[test]
fn reads_the_running_kernel() {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    if !path.exists() {
        return;
    }
    let btf = Btf::load(path).unwrap();
    assert_eq!(btf.member("sock_common", "skc_state").unwrap().size, 1);
    assert_eq!(btf.member("sock", "sk_err").unwrap().size, 4);
    assert_eq!(btf.member("sock", "__sk_common.skc_net.net").unwrap().size, 8);
    assert_eq!(btf.tracepoint_args("inet_sock_set_state"), Some(3));
    assert_eq!(btf.tracepoint_args("no_such_tracepoint"), None);
}

#[test]
fn names_of_any_length_are_told_from_those_that_begin_like_them() {
    let names = ["a", "ab", "abcdef", "abcdefg", "abcdefgh", "abcdefghi", "abcdefghijkl"];
    let mut blob = Blob::new();
    let ids = names.map(|name| blob.refer(FUNC, name, 0));
    // the last of all has nothing behind it
    let structs = ["twice", "twice", "once"].map(|name| blob.fields(STRUCT, name, 0, &[]));
    let btf = Btf::parse(blob.bytes()).unwrap();
    for (name, id) in names.into_iter().zip(ids) {
        assert_eq!(btf.function(name), Some(id), "{name}");
    }
    for name in ["", "b", "abc", "abcdefghij", "once"] {
        assert_eq!(btf.function(name), None, "{name}");
    }
    assert_eq!((btf.only("once"), btf.only("twice"), btf.only("ab")), (Some(structs[2]), None, None));
}
