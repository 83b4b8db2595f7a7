//! A loop in the making: steps over arrays that lie as if they were computed one behind the other, whichever element comes first.

use super::loops::{Source, Step};
use crate::exec::graph::Home;
use crate::ir::Primitive;

/// Where an array lies, as far as that is known before a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub(super) memory: Memory,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Bytes of a chunk, or of all: elements of two arrays that begin alike, and have these alike, lie in the same places.
    pub(super) chunk: usize,
    /// Whether its elements are truth values.
    pub(super) truth: bool,
}

/// The memory that bytes are counted in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Memory {
    Region(usize),
    Arena,
    /// Of a thread: for a tile, or for a task, in which tiles lie one behind the other.
    Thread {
        tile: bool,
    },
    Home(Home),
}

impl Extent {
    /// Whether they have bytes in common.
    pub(super) fn meets(&self, other: &Self) -> bool {
        let same = match (self.memory, other.memory) {
            (Memory::Thread { .. }, Memory::Thread { .. }) => true,
            (a, b) => a == b,
        };
        same && self.start < other.end && other.start < self.end
    }

    /// Whether writing one changes what is read of the other at another element.
    fn disturbs(&self, other: &Self) -> bool {
        self != other && self.meets(other)
    }
}

/// An array of a loop.
#[derive(Clone, Copy)]
pub(super) struct Stream {
    extent: Extent,
    /// What was last written there, or is read there.
    value: Source,
    written: bool,
}

/// Steps so far, and the arrays that they read and write.
#[derive(Default)]
pub(super) struct Open {
    pub(super) steps: Vec<Step>,
    streams: Vec<Stream>,
}

impl Open {
    /// Where the arrays lie.
    pub(super) fn extents(&self) -> impl Iterator<Item = Extent> + '_ {
        self.streams.iter().map(|stream| stream.extent)
    }

    /// Where those lie that are written.
    pub(super) fn written(&self) -> impl Iterator<Item = Extent> + '_ {
        self.streams.iter().filter(|stream| stream.written).map(|stream| stream.extent)
    }

    /// What is there so far, to go back to.
    pub(super) fn so_far(&self) -> (usize, Vec<Stream>) {
        (self.steps.len(), self.streams.clone())
    }

    pub(super) fn back_to(&mut self, (steps, streams): (usize, Vec<Stream>)) {
        self.steps.truncate(steps);
        self.streams = streams;
    }

    /// An array as it is at this point; `None` where it would meet others in other elements.
    pub(super) fn read(&mut self, extent: Extent) -> Option<Source> {
        let stream = self.stream(extent, false)?;
        Some(self.streams[stream].value)
    }

    /// A step whose result is left in an array.
    pub(super) fn write(&mut self, primitive: Primitive, x: [Source; 3], to: Extent) -> Option<()> {
        let stream = self.stream(to, true)?;
        self.streams[stream].value = Source::Made(self.steps.len());
        self.steps.push(Step { primitive, x, to: Some(stream), canonical: false });
        Some(())
    }

    fn stream(&mut self, extent: Extent, writes: bool) -> Option<usize> {
        let met = |other: &Stream| (writes || other.written) && extent.disturbs(&other.extent);
        if self.streams.iter().any(met) {
            return None;
        }
        let at = self.streams.iter().position(|stream| stream.extent == extent).unwrap_or_else(|| {
            let value = Source::Stream(self.streams.len());
            self.streams.push(Stream { extent, value, written: false });
            self.streams.len() - 1
        });
        self.streams[at].written |= writes;
        Some(at)
    }
}
