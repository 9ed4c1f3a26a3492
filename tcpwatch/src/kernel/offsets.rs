//! Looks up the fields that the programs read in the running kernel's BTF.

use tcpwatch_common::offsets::{ABSENT, BIT_SHIFT, COUNT, Field, Offsets, PLACES, Place, bit_offset};

use super::btf::{Btf, BtfError, Member};

/// A field that this kernel lacks, and what is lost without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostField {
    pub field: String,
    pub lost: &'static str,
}

/// Why no programs can be loaded for this kernel.
#[derive(Debug, thiserror::Error)]
pub enum OffsetError {
    #[error(
        "this kernel's BTF does not tell where {container}.{path} is, and nothing works without it: {source}"
    )]
    Missing { container: &'static str, path: &'static str, source: BtfError },
    #[error(
        "{container}.{path} has {found} bytes on this kernel, not {expected}: please report the kernel version"
    )]
    Size { container: &'static str, path: &'static str, found: u32, expected: u32 },
    #[error("{container}.{path} is at offset {offset} on this kernel, further than tcpwatch can reach")]
    TooFar { container: &'static str, path: &'static str, offset: u32 },
}

/// The offset of every field, and which optional ones are absent.
pub fn resolve(btf: &Btf) -> Result<(Offsets, Vec<LostField>), OffsetError> {
    resolve_places(btf, PLACES.iter())
}

/// The offsets of these fields alone: to look each of them up takes a while.
pub fn resolve_some(btf: &Btf, fields: &[Field]) -> Result<Offsets, OffsetError> {
    let places = PLACES.iter().filter(|place| fields.contains(&place.field));
    resolve_places(btf, places).map(|(offsets, _)| offsets)
}

fn resolve_places<'a>(
    btf: &Btf,
    places: impl Iterator<Item = &'a Place>,
) -> Result<(Offsets, Vec<LostField>), OffsetError> {
    let mut offsets = [ABSENT; COUNT];
    let mut missing = Vec::new();
    for place in places {
        let (container, path) = (place.container, place.path);
        if let (0, Some(lost)) = (place.size, place.lost) {
            match bitfield(btf, container, path) {
                Some(offset) => offsets[place.field as usize] = offset,
                None => missing.push(LostField { field: format!("{container}.{path}"), lost }),
            }
            continue;
        }
        let found = match first(btf, container, path) {
            Ok(_) if place.field == Field::NetCookie && is_on_demand(btf) => None,
            Ok(member) => Some(member),
            Err(_) if place.lost.is_some() => None,
            Err(source) => return Err(OffsetError::Missing { container, path, source }),
        };
        let slot = &mut offsets[place.field as usize];
        match (found, place.lost) {
            (Some(member), None) if member.size != place.size => {
                return Err(OffsetError::Size { container, path, found: member.size, expected: place.size });
            }
            (Some(member), _) if member.size == place.size => {
                *slot = u16::try_from(member.offset)
                    .ok()
                    .filter(|offset| *offset != ABSENT)
                    .ok_or(OffsetError::TooFar { container, path, offset: member.offset })?;
            }
            (_, lost) => missing
                .push(LostField { field: format!("{container}.{path}"), lost: lost.unwrap_or("everything") }),
        }
    }
    Ok((offsets, missing))
}

/// The first of the paths that there is.
fn first(btf: &Btf, container: &str, paths: &str) -> Result<Member, BtfError> {
    let (path, others) = paths.split_once('|').map_or((paths, None), |(path, others)| (path, Some(others)));
    match (btf.member(container, path), others) {
        (Err(_), Some(others)) => first(btf, container, others),
        (found, _) => found,
    }
}

fn bitfield(btf: &Btf, container: &str, path: &str) -> Option<u16> {
    let (byte, shift) = btf.bits(container, path).ok()?;
    let byte = u16::try_from(byte).ok().filter(|byte| *byte < 1 << BIT_SHIFT)?;
    Some(bit_offset(byte, u16::try_from(shift).ok()?))
}

/// Until Linux 5.12 a namespace's cookie is an atomic that stays 0 until somebody asks for it.
fn is_on_demand(btf: &Btf) -> bool {
    btf.member("net", "net_cookie.counter").is_ok()
}
