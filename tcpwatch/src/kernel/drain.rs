//! A hash map that is emptied when it is read, by one call of the kernel for all entries: to remove them one by one takes
//! two calls each.

use std::os::fd::AsFd as _;

use aya::maps::{Map, MapData, MapError};
use aya::sys::SyscallError;

use super::bpf;
use super::counters::CountersError;
use super::load::Kernel;

/// A key and its value.
type Entry<const K: usize, const V: usize> = ([u64; K], [u64; V]);

/// A map whose keys have `K` words and whose values have `V`.
pub(super) struct Drain<const K: usize, const V: usize> {
    name: &'static str,
    map: MapData,
    /// Entries that it can have.
    most: u32,
}

impl<const K: usize, const V: usize> Drain<K, V> {
    /// Takes the map out of the loaded object.
    pub(super) fn open(kernel: &mut Kernel, name: &'static str) -> Result<Self, CountersError> {
        let failed = |source| CountersError { name, source };
        let Some(Map::HashMap(map) | Map::LruHashMap(map)) = kernel.ebpf.take_map(name) else {
            return Err(failed(MapError::InvalidName { name: name.into() }));
        };
        let info = map.info().map_err(failed)?;
        let (key, value) = (size_of::<[u64; K]>(), size_of::<[u64; V]>());
        let [found_key, found_value] = [info.key_size(), info.value_size()].map(|size| size as usize);
        // The kernel writes as much as it has.
        if (found_key, found_value) != (key, value) {
            return Err(failed(MapError::InvalidValueSize { size: found_value, expected: value }));
        }
        Ok(Self { name, most: info.max_entries(), map })
    }

    /// Takes all entries out.
    pub(super) fn take(&mut self) -> Result<Vec<Entry<K, V>>, CountersError> {
        let mut all = Vec::new();
        let mut place = None;
        loop {
            let (mut keys, mut values) = (vec![[0; K]; self.most as usize], vec![[0; V]; self.most as usize]);
            let taken = bpf::take_batch(self.map.fd().as_fd(), place, &mut keys, &mut values);
            let (count, next) = taken.map_err(|io_error| CountersError {
                name: self.name,
                source: SyscallError { call: "bpf_map_lookup_and_delete_batch", io_error }.into(),
            })?;
            all.extend(keys.into_iter().zip(values).take(count));
            place = next;
            if place.is_none() {
                return Ok(all);
            }
        }
    }
}
