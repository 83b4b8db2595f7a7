//! Where every buffer lies: in the arena that all threads share, or in the computing thread's own memory where one group makes
//! it and uses it up.

mod allocate;

use super::graph::{Graph, Home};
use super::schedule::{Group, Schedule};
use super::table::{BufferId, NodeId, Table};
use crate::error::ErrorKind;

pub(super) use allocate::{ALIGN, Span, WORD, allocate};

/// Where the elements of a buffer are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// At this byte of the arena.
    Arena(usize),
    /// At this byte of the computing thread's own memory, which holds the part of one task.
    Task(usize),
    /// The same for one tile of a loop.
    Tile(usize),
    /// Where no plan decides.
    Home(Home),
}

/// A place for every base buffer, and the bytes in all.
pub(super) struct Placement {
    pub(super) places: Table<BufferId, Place>,
    /// Bytes of the arena.
    pub(super) arena: usize,
    /// Bytes of each thread.
    pub(super) local: usize,
}

/// When a buffer is first and last used: the position of a node among all, and where that is.
#[derive(Clone, Copy)]
struct Life {
    first: At,
    last: At,
    maker: NodeId,
}

/// Where a node runs.
#[derive(Clone, Copy)]
struct At {
    position: u32,
    level: u32,
    group: u32,
    tiles: u32,
}

/// The end of what outlives all nodes.
const FOREVER: u32 = u32::MAX;

/// A tile loop: the positions of its first and its last node, and chunks of a tile.
#[derive(Clone, Copy)]
struct Loop {
    first: u32,
    last: u32,
    tile: usize,
}

impl Placement {
    pub(super) fn new(graph: &Graph, schedule: &Schedule) -> Result<Self, ErrorKind> {
        let (mut lives, loops) = lives(graph, schedule);
        for &buffer in graph.outputs.iter().chain(graph.commits.iter().map(|(_, b)| b)) {
            if let Some(life) = &mut lives[graph.base(buffer)] {
                life.last.level = FOREVER;
            }
        }
        // What is joined is needed as soon and as long as any of its parts, which threads may make.
        let mut joined = Table::alike(&graph.buffers, false);
        for (&part, &(whole, _)) in &graph.within {
            if let (Some(own), Some(life)) = (lives[part].take(), &mut lives[whole]) {
                life.first.level = life.first.level.min(own.first.level);
                life.last.level = life.last.level.max(own.last.level);
                joined[whole] = true;
            }
        }
        let groups: Vec<&Group> = schedule.levels.iter().flatten().collect();
        let home = |b: &super::graph::Buffer| b.home.map_or(Place::Arena(0), Place::Home);
        let mut places: Table<BufferId, Place> = graph.buffers.iter().map(|(_, b)| home(b)).collect();
        let mut shared: Vec<(Span, BufferId)> = Vec::new();
        let mut own: Vec<Vec<(Span, BufferId)>> = vec![Vec::new(); groups.len()];
        for (buffer, life) in lives.iter().filter(|(b, _)| graph.buffers[*b].home.is_none()) {
            let Some(life) = life else { continue };
            let bytes = graph.bytes(buffer);
            let brief = life.last.level != FOREVER && life.last.group == life.first.group;
            if brief && !joined[buffer] {
                let group = groups[life.first.group as usize];
                let (span, tile) = local(graph, group, life, bytes, &loops);
                places[buffer] = if tile { Place::Tile(0) } else { Place::Task(0) };
                own[life.first.group as usize].push((span, buffer));
            } else {
                let (first, last) = (life.first.level, life.last.level);
                shared.push((Span { first, last, bytes }, buffer));
            }
        }
        let arena = allocate(&mut shared, |buffer, offset| places[buffer] = Place::Arena(offset))?;
        for (&part, &(whole, first)) in &graph.within {
            if let Place::Arena(offset) = places[whole] {
                places[part] = Place::Arena(offset + first * graph.buffers[part].ty.dtype.bytes());
            }
        }
        let mut bytes = 0;
        for spans in &mut own {
            let total = allocate(spans, |buffer, at| {
                if let Place::Task(offset) | Place::Tile(offset) = &mut places[buffer] {
                    *offset = at;
                }
            })?;
            bytes = bytes.max(total);
        }
        Ok(Self { places, arena: arena.next_multiple_of(ALIGN), local: bytes.next_multiple_of(ALIGN) })
    }
}

/// The lives of all base buffers, and all tile loops.
fn lives(graph: &Graph, schedule: &Schedule) -> (Table<BufferId, Option<Life>>, Vec<Loop>) {
    let mut lives: Table<BufferId, Option<Life>> = Table::alike(&graph.buffers, None);
    let mut loops = Vec::new();
    let mut at = At { position: 0, level: 0, group: 0, tiles: 0 };
    for level in &schedule.levels {
        for group in level {
            for tiles in &group.loops {
                let start = at.position;
                for &n in &group.nodes[tiles.nodes.clone()] {
                    let node = &graph.nodes[n];
                    let read = node.reads().map(|(_, s)| s.buffer).chain(node.packed);
                    for buffer in read.chain(node.results.iter().copied()) {
                        let life =
                            lives[graph.base(buffer)].get_or_insert(Life { first: at, last: at, maker: n });
                        life.last = at;
                    }
                    at.position += 1;
                }
                loops.push(Loop { first: start, last: at.position.saturating_sub(1), tile: tiles.tile });
                at.tiles += 1;
            }
            at.group += 1;
        }
        at.level += 1;
    }
    (lives, loops)
}

/// How long and in how many bytes a thread holds a buffer that one group makes and uses up; and whether that is a tile.
fn local(graph: &Graph, group: &Group, life: &Life, bytes: usize, loops: &[Loop]) -> (Span, bool) {
    let Group { chunks, tasks, .. } = *group;
    let tile = life.first.tiles == life.last.tiles && chunks > 1;
    let (from, to) = (loops[life.first.tiles as usize], loops[life.last.tiles as usize]);
    let held = if tile { from.tile.min(chunks) } else { chunks.div_ceil(tasks) };
    // What outlives a tile loop, or a tile, must not share memory with anything in another tile of it.
    let once = graph.repeats(&graph.nodes[life.maker], chunks);
    let (first, last) = if (tile && !once) || chunks == 1 {
        (life.first.position, life.last.position)
    } else {
        (from.first, to.last)
    };
    (Span { first, last, bytes: bytes / chunks * held }, tile)
}
