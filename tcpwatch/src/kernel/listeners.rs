//! Listeners as the kernel side keeps them, with their queues read at this moment.

use aya::maps::{Array, HashMap, MapData};
use aya::programs::{ProgramError, RawTracePoint};
use aya::{RawTracePointRunOptions, TestRun as _};
use tcpwatch_common::listener::{GONE, Listener, POLLED, WORDS};
use tcpwatch_common::names::{map, program};

use super::counters::{CountersError, open};
use super::load::Kernel;

/// The map of listeners, opened once.
pub struct Listeners {
    map: HashMap<MapData, u64, [u64; WORDS]>,
}

impl Listeners {
    /// Takes the map out of the loaded object.
    pub fn open(kernel: &mut Kernel) -> Result<Self, CountersError> {
        Ok(Self { map: open!(kernel, HashMap, map::LISTENERS) })
    }

    /// Every listener, each by a number that stands for it as long as it lives; read anew where this kernel can.
    /// `forget` are removed: they closed without an event that told of it.
    pub fn read(&mut self, kernel: &mut Kernel) -> Result<Vec<(u64, Listener)>, CountersError> {
        let error = |source| CountersError { name: map::LISTENERS, source };
        let keys = self.map.keys().collect::<Result<Vec<u64>, _>>().map_err(error)?;
        let mut all = Vec::with_capacity(keys.len());
        for key in keys {
            // It may be closed meanwhile, or not be polled on this kernel; both show in the record.
            let polled = kernel.poll(key).is_ok();
            let Ok(words) = self.map.get(&key, 0) else { continue };
            let mut listener = Listener::from_words(&words);
            if !polled {
                listener.flags &= !POLLED;
            }
            if listener.flags & GONE != 0 {
                // An event may have been faster.
                let _ = self.map.remove(&key);
            } else {
                all.push((key, listener));
            }
        }
        Ok(all)
    }
}

impl Kernel {
    /// The fixed address from which the programs reckon where a socket is; `None` on a kernel that does not run the
    /// program that says so.
    pub(super) fn origin(&mut self) -> Option<u64> {
        self.poll(0).ok()?;
        let answers: Array<_, [u64; 2]> = Array::try_from(self.ebpf.map(map::ANSWERS)?).ok()?;
        answers.get(&0, 0).ok().map(|[_, origin]| origin).filter(|origin| *origin != 0)
    }

    /// Has the kernel side read the queues of one listener; for 0, tell its ticks.
    pub(super) fn poll(&mut self, key: u64) -> Result<(), ProgramError> {
        let Some(program) = self.ebpf.program_mut(program::POLL) else {
            return Err(ProgramError::NotLoaded);
        };
        let program: &mut RawTracePoint = program.try_into()?;
        let mut options = RawTracePointRunOptions::default();
        options.args[0] = key;
        program.test_run(options)?;
        Ok(())
    }
}
