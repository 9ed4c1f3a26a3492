//! How a value is written as its difference from the one before it, and read back exactly.
//!
//! A value that has not changed is written as nothing but zero bytes. A struct or array of which that is so is one
//! zero byte, another begins with a 1: so a namespace in which nothing happened costs two bytes. `docs/recording.md`
//! has the rules.
//!
//! What is read may be anything. Lengths are held against the bytes that are left before anything is made, and memory
//! against [`MOST_MEMORY`]; an element of the value before can be taken once only.

use std::hash::Hash;

/// Memory that one whole sample and its differences may come to need.
pub(super) const MOST_MEMORY: usize = 256 << 20;

/// The bytes are not what this version writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bad;

/// Bytes that are being read.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    /// Of the format.
    version: u8,
    /// Memory that may still be used.
    budget: &'a mut usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8], version: u8, budget: &'a mut usize) -> Self {
        Self { bytes, version, budget }
    }

    /// Whether what came with a version of the format is in it.
    pub(super) fn has(&self, version: u8) -> bool {
        self.version >= version
    }

    pub(super) fn byte(&mut self) -> Result<u8, Bad> {
        let (first, rest) = self.bytes.split_first().ok_or(Bad)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Bad> {
        let (first, rest) = self.bytes.split_first_chunk().ok_or(Bad)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Bad> {
        let (first, rest) = self.bytes.split_at_checked(count).ok_or(Bad)?;
        self.bytes = rest;
        Ok(first)
    }

    /// A number, seven bits in a byte, the lowest first.
    pub(super) fn number(&mut self) -> Result<u64, Bad> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Bad);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Bad)
    }

    pub(super) fn difference(&mut self) -> Result<i64, Bad> {
        let number = self.number()?;
        Ok((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// Whether a struct or array has changed.
    pub(super) fn mark(&mut self) -> Result<bool, Bad> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Bad),
        }
    }

    /// Has to be asked before memory is taken.
    pub(super) fn charge(&mut self, memory: usize) -> Result<(), Bad> {
        *self.budget = self.budget.checked_sub(memory).ok_or(Bad)?;
        Ok(())
    }

    /// Whether the next value is one that has not changed.
    pub(super) fn is_unchanged(&self) -> bool {
        self.bytes.first() == Some(&0)
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len()
    }
}

pub(super) fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Small differences up and down are small numbers.
pub(super) fn put_difference(difference: i64, out: &mut Vec<u8>) {
    put_number((difference << 1 ^ difference >> 63).cast_unsigned(), out);
}

/// Writes `parts` after a mark; only the mark if they have not changed.
pub(super) fn put_marked(out: &mut Vec<u8>, parts: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.push(1);
    parts(out);
    if out[start + 1..].iter().all(|byte| *byte == 0) {
        out.truncate(start);
        out.push(0);
    }
}

/// Something that is written as its difference from what it was before.
pub(super) trait Delta {
    /// What it is compared with if there was none before.
    fn blank() -> Self;

    fn put(&self, before: &Self, out: &mut Vec<u8>);

    /// Turns what it was before into what was written.
    fn take(&mut self, input: &mut Input<'_>) -> Result<(), Bad>;
}

/// An element of a list that can be found again in the list before.
pub(super) trait Keyed {
    type Key: Eq + Hash;

    fn key(&self) -> Self::Key;
}

/// A struct: the fields in this order. Both directions name all of them, so that none can be forgotten; those after
/// `since` came with that version of the format, and those after `without` are of no use later: they are read as blank.
macro_rules! fields {
    ($name:ty { $($field:ident),+ $(,)? }
        $(since $version:literal { $($later:ident),+ })? $(without { $($left_out:ident),+ })?) => {
        impl $crate::record::delta::Delta for $name {
            fn blank() -> Self {
                Self {
                    $($field: $crate::record::delta::Delta::blank(),)+
                    $($($later: $crate::record::delta::Delta::blank(),)+)?
                    $($($left_out: $crate::record::delta::Delta::blank(),)+)?
                }
            }

            fn put(&self, before: &Self, out: &mut Vec<u8>) {
                let Self { $($field,)+ $($($later,)+)? $($($left_out: _,)+)? } = self;
                $crate::record::delta::put_marked(out, |out| {
                    $($crate::record::delta::Delta::put($field, &before.$field, out);)+
                    $($($crate::record::delta::Delta::put($later, &before.$later, out);)+)?
                });
            }

            fn take(
                &mut self,
                input: &mut $crate::record::delta::Input<'_>,
            ) -> Result<(), $crate::record::delta::Bad> {
                let Self { $($field,)+ $($($later,)+)? $($($left_out: _,)+)? } = self;
                if input.mark()? {
                    $($crate::record::delta::Delta::take($field, input)?;)+
                    $(if input.has($version) {
                        $($crate::record::delta::Delta::take($later, input)?;)+
                    })?
                }
                Ok(())
            }
        }
    };
}
pub(super) use fields;

/// An enum: the number of each variant. The compiler says which is missing.
macro_rules! variants {
    ($name:ident { $first:ident = 0 $(, $variant:ident = $number:literal)* $(,)? }) => {
        impl $crate::record::delta::Delta for $name {
            fn blank() -> Self {
                Self::$first
            }

            fn put(&self, before: &Self, out: &mut Vec<u8>) {
                let number = |variant: &Self| -> u8 {
                    match variant {
                        Self::$first => 0,
                        $(Self::$variant => $number,)*
                    }
                };
                out.push(number(self) ^ number(before));
            }

            fn take(
                &mut self,
                input: &mut $crate::record::delta::Input<'_>,
            ) -> Result<(), $crate::record::delta::Bad> {
                let before: u8 = match self {
                    Self::$first => 0,
                    $(Self::$variant => $number,)*
                };
                *self = match before ^ input.byte()? {
                    0 => Self::$first,
                    $($number => Self::$variant,)*
                    _ => return Err($crate::record::delta::Bad),
                };
                Ok(())
            }
        }
    };
}
pub(super) use variants;
