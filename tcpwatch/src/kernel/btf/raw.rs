//! The binary format of BTF: header, type records, and what can be wrong with them.
//!
//! Knows nothing of names or of how types refer to each other; see
//! `Documentation/bpf/btf.rst` in the kernel for the format itself.

use std::ops::Range;

use super::BtfError;

pub const MAGIC: u16 = 0xeb9f;
pub const VERSION: u8 = 1;

/// Words before the body of a type: name, info, and a size or another type.
pub const TYPE_HEAD: usize = 3;
/// Longer chains of typedefs, qualifiers or arrays than this can only be cycles.
pub const MAX_CHAIN: usize = 64;

pub const VOID: u32 = 0;
pub const INT: u32 = 1;
pub const PTR: u32 = 2;
pub const ARRAY: u32 = 3;
pub const STRUCT: u32 = 4;
pub const UNION: u32 = 5;
pub const ENUM: u32 = 6;
pub const FWD: u32 = 7;
pub const TYPEDEF: u32 = 8;
pub const VOLATILE: u32 = 9;
pub const CONST: u32 = 10;
pub const RESTRICT: u32 = 11;
pub const FUNC: u32 = 12;
pub const FUNC_PROTO: u32 = 13;
pub const VAR: u32 = 14;
pub const DATASEC: u32 = 15;
pub const FLOAT: u32 = 16;
pub const DECL_TAG: u32 = 17;
pub const TYPE_TAG: u32 = 18;
pub const ENUM64: u32 = 19;

/// What is wrong with the types of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("type {id} is of unknown kind {kind}")]
    Kind { id: u32, kind: u32 },
    #[error("type {id} runs past the end of the type section")]
    Cut { id: u32 },
    #[error("something refers to type {id}, but the last is {last}")]
    Id { id: u32, last: usize },
    #[error("type {id} has a name at {offset} of the string section, where no string is")]
    Name { id: u32, offset: u32 },
    #[error("type {id} starts a chain of more than {MAX_CHAIN} types")]
    Chain { id: u32 },
    #[error("type {id} is that of a member but has no size, or one too large")]
    Size { id: u32 },
    #[error("type {id} has a member where none can be")]
    Place { id: u32 },
}

/// Where the two sections lie in the blob.
pub struct Sections {
    pub types: Range<usize>,
    pub strings: Range<usize>,
}

impl Sections {
    pub fn read(blob: &[u8]) -> Result<Sections, BtfError> {
        let truncated = |section| BtfError::Truncated { section, have: blob.len() };
        let Some((&[m0, m1, version, _flags], rest)) = blob.split_first_chunk() else {
            return Err(truncated("header"));
        };
        match u16::from_ne_bytes([m0, m1]) {
            MAGIC if version == VERSION => {}
            MAGIC => return Err(BtfError::Version { found: version }),
            found if found.swap_bytes() == MAGIC => return Err(BtfError::OtherEndian),
            found => return Err(BtfError::NotBtf { found }),
        }
        let (words, _) = rest.as_chunks();
        let Some(&words) = words.first_chunk() else {
            return Err(truncated("header"));
        };
        let [header_len, type_offset, type_len, string_offset, string_len] = words.map(u32::from_ne_bytes);
        // both offsets count from the end of the header, which later versions may lengthen
        let section = |name, offset: u32, len: u32| {
            let start = (header_len as usize).checked_add(offset as usize);
            let end = start.and_then(|start| start.checked_add(len as usize));
            let range = start.zip(end).map(|(start, end)| start..end);
            range.filter(|range| range.end <= blob.len()).ok_or(truncated(name))
        };
        Ok(Sections {
            types: section("type section", type_offset, type_len)?,
            strings: section("string section", string_offset, string_len)?,
        })
    }
}

/// One type record. `word` is its size or the type it refers to, depending on the kind.
#[derive(Clone, Copy)]
pub struct Type<'a> {
    pub id: u32,
    pub name: u32,
    pub word: u32,
    pub body: &'a [u32],
    info: u32,
}

impl<'a> Type<'a> {
    /// Reads the type at the start of `words`, which go on with the types after it.
    pub fn read(id: u32, words: &'a [u32]) -> Result<Type<'a>, Flaw> {
        let Some((&[name, info, word], rest)) = words.split_first_chunk::<TYPE_HEAD>() else {
            return Err(Flaw::Cut { id });
        };
        let head = Type { id, name, word, body: &[], info };
        let body_len = match head.kind() {
            VOID if id == 0 => 0,
            PTR | FWD | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | FLOAT | TYPE_TAG => 0,
            INT | VAR | DECL_TAG => 1,
            ARRAY => 3,
            ENUM | FUNC_PROTO => 2 * head.vlen(),
            STRUCT | UNION | DATASEC | ENUM64 => 3 * head.vlen(),
            kind => return Err(Flaw::Kind { id, kind }),
        };
        let body = rest.get(..body_len).ok_or(Flaw::Cut { id })?;
        Ok(Type { body, ..head })
    }

    pub fn kind(&self) -> u32 {
        self.info >> 24 & 0x1f
    }

    pub fn vlen(&self) -> usize {
        self.info as usize & 0xffff
    }

    /// For a struct or union: members say themselves whether they are bitfields. For an
    /// enum: its values are signed.
    pub fn kind_flag(&self) -> bool {
        self.info >> 31 == 1
    }
}
