//! Reads a raw BTF blob, such as `/sys/kernel/btf/vmlinux`, and answers where a member
//! of a kernel struct lies, how many arguments a tracepoint has, what an enum contains.
//!
//! The blob is not trusted: whatever its bytes, a lookup ends with an answer or an error.
//! Only native-endian base BTF is read, neither split BTF nor that of modules, and nothing
//! here relocates or loads a BPF program.

use std::collections::HashSet;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use raw::{
    ARRAY, CONST, ENUM, ENUM64, FLOAT, FUNC, FUNC_PROTO, INT, MAGIC, MAX_CHAIN, PTR, RESTRICT, STRUCT,
    Sections, TYPE_HEAD, TYPE_TAG, TYPEDEF, Type, UNION, VERSION, VOLATILE,
};

mod raw;
#[cfg(test)]
mod tests;

pub use raw::Flaw;

/// BPF has no 32-bit pointers, and the kernels it is used on have none either.
const POINTER_SIZE: u32 = 8;

/// A parsed blob: its types as words, its strings, and where each type begins.
#[derive(Debug)]
pub struct Btf {
    words: Vec<u32>,
    strings: Vec<u8>,
    /// Index into `words` of each type, by type id; id 0 is `void`.
    starts: Vec<usize>,
    /// Every type that is looked up by name.
    named: Vec<Named>,
}

/// A type that has a name. Most of those that are not looked for differ in how they begin, which is kept here, as the
/// strings are all over the memory.
#[derive(Debug)]
struct Named {
    /// The first bytes of the name, and what follows it if it is shorter.
    begin: u64,
    offset: u32,
    id: u32,
}

/// A member that occupies whole bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    pub offset: u32,
    pub size: u32,
}

/// A member anywhere below a struct; `bits` is 0 unless it is a bitfield.
#[derive(Clone, Copy)]
struct Step {
    bit: u32,
    bits: u32,
    type_id: u32,
}

/// A `Step` that has been checked against the size of its type and of the struct.
#[derive(PartialEq)]
struct Place {
    bit: u32,
    bits: u32,
    size: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    #[error("cannot read btf from {}: {cause}", path.display())]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("cannot use btf of {}: {cause}", path.display())]
    Unusable { path: PathBuf, cause: Box<BtfError> },
    #[error("no btf magic at byte 0: found {found:#06x}, looked for {MAGIC:#06x}")]
    NotBtf { found: u16 },
    #[error("btf magic at byte 0 is byte-swapped: the blob is of the other endianness")]
    OtherEndian,
    #[error("btf version {found} in the header, only version {VERSION} is known")]
    Version { found: u8 },
    #[error("btf {section} does not fit in the {have} bytes there are")]
    Truncated { section: &'static str, have: usize },
    #[error("no struct \"{name}\" in btf")]
    NoStruct { name: String },
    #[error("no enum \"{name}\" with values in btf")]
    NoEnum { name: String },
    #[error("no member \"{path}\" in struct \"{strukt}\" (pointers are not followed)")]
    NoMember { strukt: String, path: String },
    #[error("member \"{path}\" of struct \"{strukt}\" is a bitfield of {bits} bits")]
    Bitfield { strukt: String, path: String, bits: u32 },
    #[error("btf has several types that disagree about {wanted}")]
    Ambiguous { wanted: String },
    #[error("corrupt btf, looking for {wanted}: {flaw}")]
    Corrupt { wanted: String, flaw: Flaw },
}

impl Btf {
    /// Reads the file whole and parses it.
    pub fn load(path: &Path) -> Result<Btf, BtfError> {
        let data = fs::read(path).map_err(|cause| BtfError::Unreadable { path: path.to_owned(), cause })?;
        Btf::parse(data).map_err(|cause| BtfError::Unusable { path: path.to_owned(), cause: Box::new(cause) })
    }

    /// Indexes the types; the kind and length of each are checked here, what it
    /// refers to only when a lookup gets there.
    pub fn parse(mut data: Vec<u8>) -> Result<Btf, BtfError> {
        let Sections { types, strings } = Sections::read(&data)?;
        // `void` has no record in the blob; with one, every id is an index
        let mut words = vec![0; TYPE_HEAD];
        let (types, _) = data.get(types).unwrap_or_default().as_chunks();
        words.extend(types.iter().map(|bytes| u32::from_ne_bytes(*bytes)));
        data.truncate(strings.end);
        let strings = data.split_off(strings.start);

        // a type has five words on average; more room would be memory that is never touched
        let starts = Vec::with_capacity(words.len() / 5);
        let mut btf = Btf { words, strings, starts, named: Vec::new() };
        btf.index().map_err(|flaw| BtfError::Corrupt { wanted: "all types".into(), flaw })?;
        Ok(btf)
    }

    /// Finds a member by its dotted path, such as `icsk_accept_queue.qlen`. Anonymous
    /// structs and unions on the way are not part of the path.
    pub fn member(&self, strukt: &str, path: &str) -> Result<Member, BtfError> {
        match self.place(strukt, path)? {
            Place { bit, bits: 0, size } => Ok(Member { offset: bit / 8, size }),
            Place { bits, .. } => Err(BtfError::Bitfield { strukt: strukt.into(), path: path.into(), bits }),
        }
    }

    /// Finds a bitfield by its dotted path: the byte that its lowest bit is in, and that bit's place in the byte.
    pub fn bits(&self, strukt: &str, path: &str) -> Result<(u32, u32), BtfError> {
        self.place(strukt, path).map(|place| (place.bit / 8, place.bit % 8))
    }

    fn has_struct(&self, name: &str) -> bool {
        self.called(name).any(|ty| ty.is_ok_and(|ty| ty.kind() == STRUCT))
    }

    /// Whether the kernel has a function of this name; helpers are functions too.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.called(name).flatten().any(|ty| ty.kind() == FUNC)
    }

    /// The number of the function of this name, by which a program calls it.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<u32> {
        self.called(name).flatten().find(|ty| ty.kind() == FUNC).map(|ty| ty.id)
    }

    /// The number of the only struct of this name.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<u32> {
        let mut found = self.called(name).flatten().filter(|ty| ty.kind() == STRUCT);
        let id = found.next()?.id;
        found.next().is_none().then_some(id)
    }

    /// The bytes of the only struct of this name.
    #[must_use]
    pub fn size_of(&self, strukt: &str) -> Option<u32> {
        self.size(self.only(strukt)?).ok()
    }

    /// Counts the arguments a `tp_btf` program sees; `None` if there is no such tracepoint.
    #[must_use]
    pub fn tracepoint_args(&self, name: &str) -> Option<usize> {
        let name = format!("btf_trace_{name}");
        let typedef = self.called(&name).flatten().find(|ty| ty.kind() == TYPEDEF)?;
        let pointer = self.resolve(typedef.id).ok().filter(|ty| ty.kind() == PTR)?;
        let proto = self.resolve(pointer.word).ok().filter(|ty| ty.kind() == FUNC_PROTO)?;
        // the first parameter is the private pointer of the probe, which bpf does not see
        proto.vlen().checked_sub(1)
    }

    /// The values and names of an enum in declaration order. Blobs made before Linux 6.0 do
    /// not say that an enum is signed: there -1 is read as `u32::MAX`.
    pub fn enumerators(&self, name: &str) -> Result<Vec<(i64, String)>, BtfError> {
        self.agreed(name, format!("enum \"{name}\""), |ty| self.values(ty))?
            .ok_or_else(|| BtfError::NoEnum { name: name.into() })
    }

    fn index(&mut self) -> Result<(), Flaw> {
        // then every offset inside is that of a string
        let is_terminated = self.strings.last() == Some(&0);
        let mut start = 0;
        for id in 0.. {
            let Some(words @ [_, ..]) = self.words.get(start..) else { break };
            let ty = Type::read(id, words)?;
            let sought = matches!(ty.kind(), STRUCT | ENUM | ENUM64 | TYPEDEF | FUNC);
            let next = start + TYPE_HEAD + ty.body.len();
            let offset = ty.name;
            if sought {
                if !is_terminated {
                    self.text(id, offset)?;
                }
                let begin = self.begin(offset).ok_or(Flaw::Name { id, offset })?;
                if begin & 0xff != 0 {
                    self.named.push(Named { begin, offset, id });
                }
            }
            self.starts.push(start);
            start = next;
        }
        Ok(())
    }

    fn get(&self, id: u32) -> Result<Type<'_>, Flaw> {
        let start = self.starts.get(id as usize);
        let words = start.and_then(|&start| self.words.get(start..));
        Type::read(id, words.ok_or(Flaw::Id { id, last: self.starts.len() - 1 })?)
    }

    /// The first bytes at an offset, the very first as the lowest; zeros stand where there are none.
    fn begin(&self, offset: u32) -> Option<u64> {
        let tail = self.strings.get(offset as usize..).filter(|tail| !tail.is_empty())?;
        Some(tail.first_chunk().map_or_else(
            || tail.iter().rev().fold(0, |begin, byte| begin << 8 | u64::from(*byte)),
            |bytes| u64::from_le_bytes(*bytes),
        ))
    }

    /// The string at an offset that type `id` gives.
    fn text(&self, id: u32, offset: u32) -> Result<&[u8], Flaw> {
        let tail = self.strings.get(offset as usize..);
        let text = tail.and_then(|tail| CStr::from_bytes_until_nul(tail).ok());
        text.map(CStr::to_bytes).ok_or(Flaw::Name { id, offset })
    }

    /// Every indexed type of that name, of whatever kind.
    fn called(&self, name: &str) -> impl Iterator<Item = Result<Type<'_>, Flaw>> {
        // the end of a short name counts, what is behind it does not
        let ended = name.bytes().chain([0]);
        let (mut wanted, mut counts) = ([0; 8], [0; 8]);
        for ((wanted, counts), byte) in wanted.iter_mut().zip(&mut counts).zip(ended) {
            (*wanted, *counts) = (byte, 0xff);
        }
        let (wanted, counts) = (u64::from_le_bytes(wanted), u64::from_le_bytes(counts));
        // comparing in place, because finding the end of every string first takes longer
        let same = move |offset: u32| {
            let tail = self.strings.get(offset as usize..);
            let rest = tail.and_then(|tail| tail.strip_prefix(name.as_bytes()));
            rest.is_some_and(|rest| rest.first() == Some(&0))
        };
        let named = self.named.iter().filter(move |named| named.begin & counts == wanted);
        named.filter(move |named| same(named.offset)).map(|named| self.get(named.id))
    }

    /// The one answer that the types of that name give. The kernel has unrelated types of
    /// the same name; one that has no answer cannot be the one meant, so it has no say.
    fn agreed<T: PartialEq>(
        &self,
        name: &str,
        wanted: String,
        ask: impl Fn(&Type<'_>) -> Result<Option<T>, Flaw>,
    ) -> Result<Option<T>, BtfError> {
        let mut agreed = None;
        for ty in self.called(name) {
            match ty.and_then(|ty| ask(&ty)) {
                Err(flaw) => return Err(BtfError::Corrupt { wanted, flaw }),
                Ok(None) => {}
                Ok(answer) if agreed.is_none() || agreed == answer => agreed = answer,
                Ok(_) => return Err(BtfError::Ambiguous { wanted }),
            }
        }
        Ok(agreed)
    }

    fn place(&self, strukt: &str, path: &str) -> Result<Place, BtfError> {
        let wanted = format!("member \"{path}\" of struct \"{strukt}\"");
        let found = self.agreed(strukt, wanted, |ty| match ty.kind() {
            STRUCT => self.walk(ty, path),
            _ => Ok(None),
        })?;
        found.ok_or_else(|| {
            if self.has_struct(strukt) {
                BtfError::NoMember { strukt: strukt.into(), path: path.into() }
            } else {
                BtfError::NoStruct { name: strukt.into() }
            }
        })
    }

    fn walk(&self, root: &Type<'_>, path: &str) -> Result<Option<Place>, Flaw> {
        let misplaced = Flaw::Place { id: root.id };
        let mut here = Step { bit: 0, bits: 0, type_id: root.id };
        for part in path.split('.') {
            let Some(step) = self.step(here.type_id, part)? else { return Ok(None) };
            here = Step { bit: here.bit.checked_add(step.bit).ok_or(misplaced)?, ..step };
        }
        let Step { mut bit, mut bits, type_id } = here;
        let size = self.size(type_id)?;

        // before there was a kind_flag, a bitfield was an integer narrower than its bytes
        let leaf = self.resolve(type_id)?;
        if let (INT, 0, &[encoding]) = (leaf.kind(), bits, leaf.body) {
            let (shift, width) = (encoding >> 16 & 0xff, encoding & 0xff);
            bit = bit.checked_add(shift).ok_or(misplaced)?;
            if bit % 8 != 0 || u64::from(width) != u64::from(size) * 8 {
                bits = width;
            }
        }

        let end = u64::from(bit) + if bits == 0 { u64::from(size) * 8 } else { bits.into() };
        let aligned = bits != 0 || bit % 8 == 0;
        let fits = end <= u64::from(root.word) * 8;
        if aligned && fits { Ok(Some(Place { bit, bits, size })) } else { Err(misplaced) }
    }

    /// Finds a member among those of a struct or union and of the anonymous ones within.
    fn step(&self, holder: u32, part: &str) -> Result<Option<Step>, Flaw> {
        let mut todo = vec![(0_u32, self.resolve(holder)?)];
        // a type that anonymously holds itself must not be entered for ever
        let mut seen = HashSet::new();
        while let Some((base, holder)) = todo.pop() {
            if !matches!(holder.kind(), STRUCT | UNION) || !seen.insert(holder.id) {
                continue;
            }
            let (members, _) = holder.body.as_chunks();
            for &[name, type_id, place] in members {
                let (bits, bit) =
                    if holder.kind_flag() { (place >> 24, place & 0xff_ffff) } else { (0, place) };
                let bit = base.checked_add(bit).ok_or(Flaw::Place { id: holder.id })?;
                match self.text(holder.id, name)? {
                    [] => todo.push((bit, self.resolve(type_id)?)),
                    name if name == part.as_bytes() => {
                        return Ok(Some(Step { bit, bits, type_id }));
                    }
                    _ => {}
                }
            }
        }
        Ok(None)
    }

    /// Follows typedefs and qualifiers to the type they stand for.
    fn resolve(&self, id: u32) -> Result<Type<'_>, Flaw> {
        let mut ty = self.get(id)?;
        for _ in 0..MAX_CHAIN {
            match ty.kind() {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => ty = self.get(ty.word)?,
                _ => return Ok(ty),
            }
        }
        Err(Flaw::Chain { id })
    }

    fn size(&self, id: u32) -> Result<u32, Flaw> {
        let mut count = 1_u32;
        let mut ty = self.resolve(id)?;
        for _ in 0..MAX_CHAIN {
            let unit = match (ty.kind(), ty.body) {
                (ARRAY, &[element, _, len]) => {
                    count = count.checked_mul(len).ok_or(Flaw::Size { id })?;
                    ty = self.resolve(element)?;
                    continue;
                }
                (INT | STRUCT | UNION | ENUM | FLOAT | ENUM64, _) => ty.word,
                (PTR, _) => POINTER_SIZE,
                _ => return Err(Flaw::Size { id }),
            };
            return count.checked_mul(unit).ok_or(Flaw::Size { id });
        }
        Err(Flaw::Chain { id })
    }

    fn values(&self, ty: &Type<'_>) -> Result<Option<Vec<(i64, String)>>, Flaw> {
        let values: Vec<(u32, i64)> = match ty.kind() {
            ENUM => {
                let signed = ty.kind_flag();
                let widen = |value: u32| if signed { value.cast_signed().into() } else { value.into() };
                ty.body.as_chunks().0.iter().map(|&[name, value]| (name, widen(value))).collect()
            }
            ENUM64 => {
                let join = |low, high| (u64::from(high) << 32 | u64::from(low)).cast_signed();
                ty.body.as_chunks().0.iter().map(|&[name, low, high]| (name, join(low, high))).collect()
            }
            _ => return Ok(None),
        };
        let named = |(name, value)| {
            let name = self.text(ty.id, name)?;
            Ok((value, String::from_utf8_lossy(name).into_owned()))
        };
        // without values it is only declared
        let values = Some(values).filter(|values| !values.is_empty());
        values.map(|values| values.into_iter().map(named).collect()).transpose()
    }
}
