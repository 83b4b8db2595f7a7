//! From a graph, its schedule and the places of its buffers to a plan.

use std::num::NonZeroUsize;

use smallvec::SmallVec;

use super::calls::{Group, KernelCall, Level, Part, Tiled};
use super::micro::Functions;
use super::verify::{Named, named, verify};
use super::{Placed, Plan};
use crate::error::{ErrorKind, Result};
use crate::exec::code::Codes;
use crate::exec::frame::{Frame, LiveOut};
use crate::exec::graph::{Action, Buffer, Constant, Graph, Home, Node, rows_of};
use crate::exec::memory::Addresses;
use crate::exec::place::{ALIGN, Place, Placement};
use crate::exec::schedule::{self, Machine, Schedule};
use crate::exec::table::{BufferId, NodeId, Table};
use crate::ir::Tape;
use crate::kernels::Isa;
use crate::shape::TensorType;
use crate::sort::sort;

impl Plan {
    /// A plan of a tape that keeps every bit of its rows; or, where `rounding` is allowed, adds in another order.
    pub(crate) fn new(tape: &Tape, isa: Isa, rounding: bool, machine: &Machine) -> Result<Self> {
        let (frame, plan, micro) = draft(tape, isa, rounding, machine)?;
        // What the tape says is not lost on the way: every output, and every next value once.
        let mut states: Vec<usize> =
            frame.donated.iter().copied().chain(frame.commits.iter().map(|(k, _)| *k)).collect();
        sort(&mut states);
        states.dedup();
        if states.len() != tape.updates().len() || frame.outputs.len() != tape.outputs().len() {
            return Err(ErrorKind::Malformed("a plan that loses an output or a next value".into()).into());
        }
        match verify(&frame, &plan, &micro) {
            Ok(()) => Ok(Self::Tiled(frame, plan)),
            Err(broken) => Err(match tape.rows().get(broken.row as usize) {
                Some(row) => tape.blame(row, broken.into()),
                None => ErrorKind::from(broken).into(),
            }),
        }
    }
}

/// A plan before it is verified, and the buffers of its micro-ops.
pub(super) fn draft(
    tape: &Tape,
    isa: Isa,
    rounding: bool,
    machine: &Machine,
) -> Result<(Frame, Tiled, Vec<Named>)> {
    let mut graph = Graph::new(tape, rounding)?;
    let schedule = Schedule::new(&mut graph, machine)?;
    let placement = Placement::new(&graph, &schedule)?;
    let mut frame = Frame::new(isa, tape.inputs(), tape.states());
    frame.donated = std::mem::take(&mut graph.donated);
    frame.constants = std::mem::take(&mut graph.constants);
    (frame.arena, frame.local) = (placement.arena, placement.local);
    let live_out = |&buffer: &BufferId| match placement.places[graph.base(buffer)] {
        Place::Arena(offset) => Ok(LiveOut { buffer: Some(buffer), offset, ty: *graph.buffers[buffer].ty }),
        _ => Err(ErrorKind::Malformed("an output that no node makes".into())),
    };
    frame.outputs = graph.outputs.iter().map(live_out).collect::<Result<_, _>>()?;
    let commits = graph.commits.iter().map(|(state, buffer)| Ok((*state, live_out(buffer)?)));
    frame.commits = commits.collect::<Result<_, ErrorKind>>()?;
    let placed = |buffer| {
        let (Buffer { ty, of, part, .. }, base) = (&graph.buffers[buffer], graph.base(buffer));
        // An operand that is read where it lies may have more elements than its row sees, or fewer.
        let all = graph.buffers[base].ty.shape.elements();
        let (first, len) = part.unwrap_or((0, all));
        Placed { place: placement.places[base], ty: ty.clone(), first, len, of: *of, base }
    };
    let (buffers, addresses) = (graph.buffers.ids().map(placed).collect(), Addresses::new(frame.regions()));
    let plan = Tiled { buffers, addresses, ..Tiled::default() };
    let last = last_writes(&graph, &schedule);
    let mut lowering = Lowering { tape, graph, frame, plan, codes: Codes::default(), last };
    let micro = lowering.levels(&schedule)?;
    let Lowering { mut frame, plan, .. } = lowering;
    frame.scratch = frame.scratch.next_multiple_of(ALIGN);
    Ok((frame, plan, micro))
}

/// The nodes that write live-outs last: they make their NaNs canonical.
fn last_writes(graph: &Graph, schedule: &Schedule) -> Table<NodeId, bool> {
    let mut kept = Table::alike(&graph.buffers, false);
    graph
        .outputs
        .iter()
        .chain(graph.commits.iter().map(|(_, b)| b))
        .for_each(|&b| kept[graph.base(b)] = true);
    let mut last = Table::alike(&graph.nodes, false);
    for group in schedule.levels.iter().flatten().rev() {
        for &n in group.nodes.iter().rev() {
            let Node { action, operands, results, .. } = &graph.nodes[n];
            for &result in results {
                let kept_result = std::mem::take(&mut kept[graph.base(result)]);
                if !matches!(action, Action::Join) {
                    last[n] |= kept_result;
                } else if kept_result {
                    operands.iter().for_each(|part| kept[graph.base(part.buffer)] = true);
                }
            }
        }
    }
    last
}

/// A plan in the making.
struct Lowering<'a> {
    tape: &'a Tape,
    graph: Graph,
    frame: Frame,
    plan: Tiled,
    codes: Codes,
    last: Table<NodeId, bool>,
}

impl Lowering<'_> {
    fn levels(&mut self, schedule: &Schedule) -> Result<Vec<Named>> {
        let (mut micro, mut functions) = (Vec::new(), Functions::default());
        for level in &schedule.levels {
            let (first, tasks) = (self.plan.groups.len(), level.iter().map(|g| g.tasks).sum());
            for group in level {
                // Micro-ops run where the first thread runs alone, array by array.
                let alone = group.chunks == 1 && tasks == 1;
                if alone {
                    micro.reserve_exact(group.nodes.len());
                    self.plan.micro.reserve_exact(group.nodes.len());
                    self.plan.described.reserve_exact(group.nodes.len());
                }
                let loops = self.plan.loops.len();
                for tiles in &group.loops {
                    let (begin, shape) =
                        (self.plan.loops.len(), (tiles.tile, tiles.splits && group.chunks > 1));
                    for &n in &group.nodes[tiles.nodes.clone()] {
                        let call = self.call(n, group, tiles.tile)?;
                        if alone && functions.micro_op(&call, &self.frame, &mut self.plan).is_some() {
                            self.plan.micro_op(begin);
                            micro.push(named(&call));
                        } else {
                            self.plan.call(begin, shape, call);
                        }
                    }
                }
                let loops = loops..self.plan.loops.len();
                self.plan.groups.push(Group { chunks: group.chunks, tasks: group.tasks, loops });
            }
            self.plan.levels.push(Level { groups: first..self.plan.groups.len(), tasks });
        }
        Ok(micro)
    }

    /// The call of a node in a group, in tiles of so many chunks.
    fn call(&mut self, n: NodeId, group: &schedule::Group, tile: usize) -> Result<KernelCall> {
        let (graph, chunks) = (&self.graph, group.chunks);
        let node = &graph.nodes[n];
        let part = |buffer: BufferId, chunked: bool| {
            let elements = graph.buffers[buffer].ty.shape.elements();
            Part { buffer, chunk: NonZeroUsize::new(elements / chunks).filter(|_| chunked && chunks > 1) }
        };
        let operands: SmallVec<[Part; 3]> = (0..node.operands.len())
            .map(|o| part(node.operands[o].buffer, graph.reads_chunked(node, o, chunks)))
            .collect();
        for part in &operands {
            let Placed { place, len: all, .. } = &self.plan.buffers[part.buffer];
            if let Place::Home(Home::Fill(constant)) = *place
                && let Constant::Fill { len, .. } = &mut self.frame.constants[constant]
            {
                *len = (*len).max(part.chunk.map_or(*all, |chunk| chunk.get() * tile));
            }
        }
        let strided = node.operands.iter().any(|s| s.strides.is_some());
        let place = |buffer: BufferId| self.plan.buffers[buffer].place;
        let (repeats, places) = (graph.repeats(node, chunks), node.results.iter().map(|&r| place(r)));
        let once = repeats && places.clone().all(|place| matches!(place, Place::Tile(_)));
        let state = places.into_iter().any(|place| matches!(place, Place::Home(Home::State(_))));
        // Partial results are found by their number.
        let partial = matches!(node.action, Action::Partial(_));
        let mut call = KernelCall {
            action: node.action.clone(),
            code: None,
            row: node.row,
            operands,
            strides: strided.then(|| node.operands.iter().map(|s| s.strides.clone()).collect()),
            results: node.results.iter().map(|&r| part(r, !partial)).collect(),
            packed: node.packed,
            mode: node.mode,
            once,
            canonical: self.last[n] || state,
            blocks: node.blocks / chunks,
            scratch: 0,
        };
        self.compile(&mut call)?;
        self.frame.scratch = self.frame.scratch.max(call.scratch);
        Ok(call)
    }

    /// Gives a call its code and scratch.
    fn compile(&mut self, call: &mut KernelCall) -> Result<()> {
        let Some(computation) = call.action.computation() else { return Ok(()) };
        let ty = |part: &Part| *self.graph.buffers[part.buffer].ty;
        let elements = call.results.first().map_or(0, |r| ty(r).shape.elements());
        let blame = |kind| self.tape.blame(&self.tape.rows()[call.row as usize], kind);
        let code = self.codes.of(computation, elements, self.frame.isa).map_err(blame)?;
        let types: SmallVec<[TensorType; 3]> = call.operands.iter().map(ty).collect();
        call.scratch = match &call.action {
            Action::Partial(split) => {
                let of =
                    |rows| types.iter().map(|ty| rows_of(ty, rows)).collect::<SmallVec<[TensorType; 3]>>();
                split.sizes().map(|rows| code.memory(&of(rows))).max().unwrap_or(0)
            }
            Action::Compute(_) => code.scratch(&types),
            _ => 0,
        };
        if call.scratch > isize::MAX as usize / 2 {
            return Err(blame(ErrorKind::Memory { bytes: call.scratch }));
        }
        call.code = Some(code);
        Ok(())
    }
}
