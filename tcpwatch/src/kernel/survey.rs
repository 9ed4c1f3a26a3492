//! Walks the sockets of the calling thread's namespace and brings back their sums by group.

use aya::maps::{Array, MapData};
use tcpwatch_common::event::Census;
use tcpwatch_common::names::{map, program};
use tcpwatch_common::survey::{
    Key, Ports, REQUEST_WORDS, Request, SUM_WORDS, Sum, TUPLE_WORDS, TupleKey, TupleSum, port_bit,
};

use super::census::{CensusError, Walker};
use super::counters::{Counters, CountersError, open};
use super::drain::Drain;
use super::load::Kernel;

/// The maps of surveys, opened once.
pub struct Surveys {
    request: Array<MapData, [u64; REQUEST_WORDS]>,
    ports: Array<MapData, Ports>,
    result: Array<MapData, u64>,
    answers: Array<MapData, [u64; 2]>,
    groups: Drain<1, SUM_WORDS>,
    tuples: Drain<TUPLE_WORDS, 2>,
    /// What the last walk left has not been taken out.
    is_dirty: bool,
}

/// What one walk found.
#[derive(Clone, Debug, Default)]
pub struct Surveyed {
    pub census: Census,
    pub groups: Vec<(Key, Sum)>,
    pub tuples: Vec<(TupleKey, TupleSum)>,
    /// Sockets in no group for want of room.
    pub folded: u64,
}

impl Surveys {
    /// Takes the maps out of the loaded object.
    pub fn open(kernel: &mut Kernel) -> Result<Self, CountersError> {
        Ok(Self {
            request: open!(kernel, Array, map::SURVEY_REQUEST),
            ports: open!(kernel, Array, map::SERVICE_PORTS),
            result: open!(kernel, Array, map::SURVEY_RESULT),
            answers: open!(kernel, Array, map::ANSWERS),
            groups: Drain::open(kernel, map::GROUPS)?,
            tuples: Drain::open(kernel, map::TUPLES)?,
            is_dirty: false,
        })
    }

    /// Asks the kernel side for what the next walks shall do.
    pub fn ask(&mut self, request: &Request) -> Result<(), CountersError> {
        self.request
            .set(0, request.to_words(), 0)
            .map_err(|source| CountersError { name: map::SURVEY_REQUEST, source })
    }

    /// Tells which ports are listened on where the next walk is made.
    pub fn tell_services(&mut self, ports: impl IntoIterator<Item = u16>) -> Result<(), CountersError> {
        let mut bits: Ports = [0; 1024];
        for (word, bit) in ports.into_iter().map(port_bit) {
            bits[word] |= bit;
        }
        self.ports.set(0, bits, 0).map_err(|source| CountersError { name: map::SERVICE_PORTS, source })
    }

    /// The kernel's ticks since some time; `None` on a kernel that does not run the program for it.
    pub fn ticks(&mut self, kernel: &mut Kernel) -> Option<u64> {
        kernel.poll(0).ok()?;
        self.answers.get(&0, 0).ok().map(|[ticks, _]| ticks)
    }

    fn clear(&mut self) -> Result<(), CountersError> {
        self.result.set(0, 0, 0).map_err(|source| CountersError { name: map::SURVEY_RESULT, source })?;
        // A walk that failed left what it had found.
        if self.is_dirty {
            self.groups.take()?;
            self.tuples.take()?;
        }
        self.is_dirty = true;
        Ok(())
    }
}

impl Kernel {
    /// Walks the sockets of the calling thread's namespace, as [`Surveys::ask`] said.
    pub fn survey(
        &mut self,
        surveys: &mut Surveys,
        counters: &mut Counters,
    ) -> Result<Surveyed, CensusError> {
        self.require(program::SURVEY)?;
        surveys.clear()?;
        counters.clear_census()?;
        Walker { ebpf: &mut self.ebpf }.walk(program::SURVEY, |_| ())?;
        let folded = |source| CountersError { name: map::SURVEY_RESULT, source };
        let (groups, tuples) = (surveys.groups.take()?, surveys.tuples.take()?);
        surveys.is_dirty = false;
        let group = |([key], sum): ([u64; 1], _)| (Key(key), Sum::from_words(&sum));
        let tuple = |(key, [used, time_wait]): (_, [u64; 2])| {
            (TupleKey::from_words(&key), TupleSum { used, time_wait })
        };
        Ok(Surveyed {
            census: counters.census()?,
            groups: groups.into_iter().map(group).collect(),
            tuples: tuples.into_iter().map(tuple).collect(),
            folded: surveys.result.get(&0, 0).map_err(folded)?,
        })
    }
}
