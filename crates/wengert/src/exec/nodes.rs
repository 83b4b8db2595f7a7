//! From a tape to what has to be done: arrays, and nodes that make them.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::cpu::{Code, Codes, Strides};
use super::folds::{Fold, segments};
use super::plan::{Action, Constant, Place};
use crate::dtype::DType;
use crate::error::{ErrorKind, Result};
use crate::ir::{Control, Form, IndexMap, Leaf, Op, Tape, Value};
use crate::kernels::Isa;
use crate::shape::{Shape, TensorType};

/// An array, or another name and shape of one.
#[derive(Clone, Debug)]
pub(super) struct Array {
    /// Shared by all arrays of the type: a plan of a million scalars holds it once.
    pub(super) ty: Arc<TensorType>,
    /// The array whose memory this is: itself, unless the row only gives another shape.
    pub(super) root: u32,
    /// The place of arrays that no node makes.
    pub(super) leaf: Option<Place>,
    /// The node that makes the root.
    pub(super) maker: Option<u32>,
}

/// An operand of a node.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) array: u32,
    pub(super) strides: Option<Box<Strides>>,
    /// Whether each block of the node reads only the part in its own place.
    pub(super) cut: bool,
}

/// One thing to do.
pub(super) struct Node {
    pub(super) action: Action,
    pub(super) row: u32,
    pub(super) operands: SmallVec<[Source; 2]>,
    pub(super) results: SmallVec<[u32; 1]>,
    /// The layout that another node made for this one.
    pub(super) prepared: Option<u32>,
    pub(super) blocks: usize,
    pub(super) work: usize,
    pub(super) scratch: usize,
    pub(super) infallible: bool,
    /// The operand that lies where the first result does, and comes without elements.
    pub(super) onto: Option<u8>,
    /// What the result begins as.
    pub(super) adds: Option<Box<Adds>>,
}

/// That a node's result begins as a multiple of the old value of a state.
pub(super) struct Adds {
    pub(super) state: usize,
    /// By what that is multiplied, and by what the results are before they are added.
    pub(super) beta: f64,
    pub(super) alpha: f64,
}

impl Node {
    /// A copy of an array of this type.
    pub(super) fn copy(row: u32, from: u32, to: u32, ty: &TensorType) -> Self {
        Self {
            action: Action::Copy,
            row,
            operands: std::iter::once(Source { array: from, strides: None, cut: true }).collect(),
            results: std::iter::once(to).collect(),
            prepared: None,
            blocks: ty.shape.elements(),
            work: ty.shape.elements(),
            scratch: 0,
            infallible: true,
            onto: None,
            adds: None,
        }
    }

    /// Whether this node, done in `units` pieces, reads only the pieces in the same places of operand `o`.
    pub(super) fn cuts(&self, o: usize, units: usize, arrays: &[Array]) -> bool {
        let source = &self.operands[o];
        let elements = arrays[source.array as usize].ty.shape.elements();
        if units == 1 {
            return true;
        }
        source.cut && self.blocks.is_multiple_of(units) && elements.is_multiple_of(units)
    }

    /// Whether this node, done in `units` pieces, makes each of them the same of all of its operand.
    pub(super) fn repeats(&self, units: usize, arrays: &[Array]) -> bool {
        let (Some(Code::View(IndexMap { strides, .. })), [to]) =
            (self.action.code(), self.results.as_slice())
        else {
            return false;
        };
        let to = arrays[*to as usize].ty.shape;
        // The first axes, as many as make up the units.
        let mut left = units;
        for (&size, &stride) in to.iter().zip(strides) {
            if left == 1 || size == 0 || !left.is_multiple_of(size) || (size > 1 && stride != 0) {
                break;
            }
            left /= size;
        }
        units > 1 && left == 1 && !self.cuts(0, units, arrays)
    }

    /// Whether the node can be done in so many pieces. A fold is cut slab by slab, or not at all.
    pub(super) fn splits(&self, units: usize) -> bool {
        self.blocks > 0
            && self.blocks.is_multiple_of(units)
            && (units == 1 || units == self.blocks || !matches!(self.action, Action::Fold(_)))
    }

    /// The operands that the node reads: all, but for those of which a layout is not made.
    pub(super) fn reads(&self) -> impl Iterator<Item = (usize, &Source)> + Clone {
        let only = if let Action::Prepare(.., operand) = self.action { Some(operand) } else { None };
        self.operands.iter().enumerate().filter(move |(o, _)| only.is_none_or(|only| only == *o))
    }
}

/// All arrays and nodes of a tape, in its order.
pub(super) struct Graph {
    pub(super) arrays: Vec<Array>,
    pub(super) nodes: Vec<Node>,
    pub(super) constants: Vec<Constant>,
    pub(super) outputs: Vec<u32>,
    pub(super) updates: Vec<(usize, u32)>,
}

impl Graph {
    /// A node that copies an array, on behalf of another node, and the copy.
    pub(super) fn copy(&mut self, array: u32, of: usize) -> (usize, u32) {
        let (node, copy) = (self.nodes.len(), self.arrays.len() as u32);
        let ty = self.arrays[array as usize].ty.clone();
        self.nodes.push(Node::copy(self.nodes[of].row, array, copy, &ty));
        self.arrays.push(Array { ty, root: copy, leaf: None, maker: Some(node as u32) });
        (node, copy)
    }

    /// Removes nodes whose results nobody reads.
    pub(super) fn remove(&mut self, gone: &[bool]) {
        let mut names = Vec::with_capacity(gone.len());
        gone.iter().fold(0u32, |left, gone| {
            names.push(left);
            left + u32::from(!gone)
        });
        let mut at = 0..;
        self.nodes.retain(|_| at.next().is_some_and(|n: usize| !gone[n]));
        for array in &mut self.arrays {
            array.maker = array.maker.filter(|&m| !gone[m as usize]).map(|m| names[m as usize]);
        }
    }

    /// An array that lies in a state.
    pub(super) fn state(&mut self, ty: Arc<TensorType>, state: usize) -> u32 {
        let root = self.arrays.len() as u32;
        self.arrays.push(Array { ty, root, leaf: Some(Place::State(state)), maker: None });
        root
    }

    pub(super) fn new(tape: &Tape, rounding: bool, isa: Isa) -> Result<Self> {
        let mut b = Builder {
            tape,
            rounding,
            isa,
            codes: Codes::default(),
            first: vec![NONE; tape.rows().len()],
            uses: Vec::new(),
            types: Shared::default(),
            fills: HashMap::new(),
            filled: HashMap::new(),
            states: tape.states().iter().map(|s| s.index).zip(0..).collect(),
            graph: Self {
                arrays: Vec::with_capacity(tape.rows().len()),
                nodes: Vec::with_capacity(tape.rows().len()),
                constants: Vec::new(),
                outputs: Vec::new(),
                updates: Vec::new(),
            },
        };
        let views = b.views();
        let live = live(tape, &views);
        b.uses = uses(tape, &views, &live);
        for (index, _) in live.iter().enumerate().filter(|(_, live)| **live) {
            b.row(index, &views)?;
        }
        let outputs = tape.outputs().iter().map(|v| b.kept(v)).collect::<Result<_>>()?;
        let updates =
            tape.updates().iter().map(|(s, v)| Ok((b.state(*s), b.kept(v)?))).collect::<Result<_>>()?;
        (b.graph.outputs, b.graph.updates) = (outputs, updates);
        Ok(b.graph)
    }
}

const NONE: u32 = u32::MAX;

/// Operands that are read where they lie, through the row that rearranges them: by row and operand, the
/// array and its strides.
type Views = HashMap<(u32, u32), (Value, Strides)>;

/// What a value rearranges, and where its neighbours lie there.
fn rearranged(tape: &Tape, value: Value) -> Option<(Value, Strides)> {
    let row = &tape.rows()[value.row as usize];
    let &[from] = row.operands.as_slice() else { return None };
    let before = tape.ty(from)?;
    let form = row.op.kernel()?.form(&[before]);
    // What does not fit is told when its own node is made: this one must not skip it.
    form.check(&[before], &row.results).ok()?;
    let Form::View(IndexMap { offset: 0, strides }) = form else { return None };
    // Another shape of the same elements needs no strides, and can be cut.
    let renamed = renames(tape, value.row as usize).is_some();
    if renamed || row.results.len() != 1 || before.dtype != row.results[0].dtype {
        return None;
    }
    let mut forward = Strides::default();
    for (axis, (to, stride)) in forward.iter_mut().zip(strides).enumerate() {
        // A repeated element is no place of its own: kernels step from one place to the next.
        let repeats = stride == 0 && row.results[0].shape.get(axis).is_some_and(|&size| size > 1);
        *to = usize::try_from(stride).ok().filter(|_| !repeats)?;
    }
    Some((from, forward))
}

/// Whether a row only gives an array another shape.
fn renames(tape: &Tape, index: usize) -> Option<Value> {
    let row = &tape.rows()[index];
    let &[from] = row.operands.as_slice() else { return None };
    let ty = row.results.first()?;
    let before = tape.ty(from)?;
    let same =
        row.results.len() == 1 && before.dtype == ty.dtype && before.shape.elements() == ty.shape.elements();
    // Of most rows neither is asked.
    let Form::View(map) = row.op.kernel().filter(|_| same)?.form(&[before]) else { return None };
    map.keeps_order(ty.shape).then_some(from)
}

/// The rows that are needed when some operands are read through others.
fn live(tape: &Tape, views: &Views) -> Vec<bool> {
    let mut live = vec![false; tape.rows().len()];
    for value in tape.outputs().iter().chain(tape.updates().iter().map(|(_, v)| v)) {
        live[value.row as usize] = true;
    }
    for (i, row) in tape.rows().iter().enumerate().rev() {
        live[i] |= matches!(row.op, Op::Control(_));
        if live[i] {
            for (o, operand) in row.operands.iter().enumerate() {
                let source = views.get(&(i as u32, o as u32)).map_or(operand, |(v, _)| v);
                live[source.row as usize] = true;
            }
        }
    }
    live
}

/// How often live rows read the results of each, and how often they are kept.
fn uses(tape: &Tape, views: &Views, live: &[bool]) -> Vec<u32> {
    let mut uses = vec![0; tape.rows().len()];
    let kept = tape.outputs().iter().chain(tape.updates().iter().map(|(_, v)| v));
    kept.for_each(|v| uses[v.row as usize] += 1);
    for (i, row) in tape.rows().iter().enumerate().filter(|(i, _)| live[*i]) {
        for (o, operand) in row.operands.iter().enumerate() {
            let source = views.get(&(i as u32, o as u32)).map_or(operand, |(v, _)| v);
            uses[source.row as usize] += 1;
        }
    }
    uses
}

/// Types of arrays, each once: neighbours mostly have the same.
#[derive(Default)]
struct Shared {
    known: HashMap<TensorType, Arc<TensorType>>,
    last: Option<Arc<TensorType>>,
}

impl Shared {
    fn of(&mut self, ty: TensorType) -> Arc<TensorType> {
        if let Some(last) = self.last.as_ref().filter(|last| ***last == ty) {
            return last.clone();
        }
        let shared = self.known.entry(ty).or_insert_with(|| Arc::new(ty)).clone();
        self.last.insert(shared).clone()
    }
}

struct Builder<'a> {
    tape: &'a Tape,
    /// Whether sums may be added in another order.
    rounding: bool,
    isa: Isa,
    codes: Codes,
    /// The array of each row's first result; those of the others follow it.
    first: Vec<u32>,
    /// How often the results of each row are read or kept.
    uses: Vec<u32>,
    types: Shared,
    /// The constant of each number and element type.
    fills: HashMap<(u64, DType), usize>,
    /// The array of each number and type.
    filled: HashMap<(u64, TensorType), u32>,
    /// The position of each state, by that in its store, among those of the tape.
    states: HashMap<usize, usize>,
    graph: Graph,
}

impl Builder<'_> {
    fn array(&mut self, ty: TensorType, leaf: Option<Place>, maker: Option<u32>) -> Result<u32> {
        let id = self.graph.arrays.len() as u32;
        if id == NONE {
            return Err(ErrorKind::Memory { bytes: usize::MAX }.into());
        }
        let ty = self.types.of(ty);
        self.graph.arrays.push(Array { ty, root: id, leaf, maker });
        Ok(id)
    }

    /// Finds the operands of products that are rearranged arrays.
    fn views(&mut self) -> Views {
        let mut views = Views::new();
        for (i, row) in self.tape.rows().iter().enumerate() {
            // Products alone honour strides.
            let rearranged_any = row.operands.iter().any(|&v| rearranged(self.tape, v).is_some());
            if row.operands.len() != 2 || !rearranged_any {
                continue;
            }
            let types: SmallVec<[TensorType; 3]> =
                row.operands.iter().filter_map(|&v| self.tape.ty(v)).collect();
            // What has no code is told when its node is made.
            let Ok(code) = self.codes.of(&row.op, &types, &row.results, self.isa) else { continue };
            let mut taken: SmallVec<[Option<Box<Strides>>; 3]> = SmallVec::from_elem(None, types.len());
            for (o, &v) in row.operands.iter().enumerate() {
                let Some((value, strides)) = rearranged(self.tape, v) else { continue };
                taken[o] = Some(Box::new(strides));
                if code.strided(&types, &taken) {
                    views.insert((i as u32, o as u32), (value, strides));
                } else {
                    taken[o] = None;
                }
            }
        }
        views
    }

    fn state(&self, index: usize) -> usize {
        self.states.get(&index).copied().unwrap_or(usize::MAX)
    }

    /// Another type for the memory of a value.
    fn alias(&mut self, value: &Value, ty: Option<TensorType>) -> u32 {
        let old = self.graph.arrays[self.of(value) as usize].clone();
        let ty = ty.map_or(old.ty, |ty| self.types.of(ty));
        self.graph.arrays.push(Array { ty, ..old });
        self.graph.arrays.len() as u32 - 1
    }

    fn of(&self, value: &Value) -> u32 {
        self.first[value.row as usize] + value.result
    }

    fn row(&mut self, index: usize, views: &Views) -> Result<()> {
        let row = &self.tape.rows()[index];
        if let (Op::Leaf(leaf), Some(&ty)) = (&row.op, row.results.first()) {
            self.first[index] = self.leaf(leaf, ty)?;
            return Ok(());
        }
        if let Some(from) = renames(self.tape, index) {
            self.first[index] = self.alias(&from, row.results.first().copied());
            return Ok(());
        }
        let mut operands = SmallVec::new();
        for (o, value) in row.operands.iter().enumerate() {
            operands.push(match views.get(&(index as u32, o as u32)) {
                Some((from, strides)) => {
                    let array = self.alias(from, self.tape.ty(*value));
                    Source { array, strides: Some(Box::new(*strides)), cut: false }
                }
                None => Source { array: self.of(value), strides: None, cut: false },
            });
        }
        self.node(index, operands)
    }

    /// The node of a row, and of the layout that it wants.
    fn node(&mut self, index: usize, mut operands: SmallVec<[Source; 2]>) -> Result<()> {
        let row = &self.tape.rows()[index];
        let blame = |kind| self.tape.blame(row, kind);
        // The types as the row sees them, whatever way the operands are read.
        let types: SmallVec<[TensorType; 3]> = row.operands.iter().filter_map(|&v| self.tape.ty(v)).collect();
        let code = match &row.op {
            Op::Control(_) => None,
            op => Some(self.codes.of(op, &types, &row.results, self.isa).map_err(blame)?),
        };
        let (code, name) = (code.as_ref(), row.op.name());
        let blocks = code.map_or(1, |c| c.blocks(&types, &row.results));
        let work = code.map_or(0, |c| c.work(&types, &row.results));
        let plain = operands.iter().all(|s| s.strides.is_none());
        if self.rounding
            && plain
            && let Some((kernel, code)) = row.op.kernel().zip(code)
            && let Some(fold) = Fold::of(kernel, code, &types, &row.results)
        {
            return self.fold(index, operands, fold, work);
        }
        let scratch = code.map_or(0, |c| c.scratch(&types));
        if scratch > isize::MAX as usize / 2 {
            return Err(blame(ErrorKind::Memory { bytes: scratch }));
        }
        let infallible = code.is_some_and(|c| c.infallible());
        let mut prepared = None;
        if let Some((code, layout)) = code.and_then(|c| Some((c, c.prepared(&types)?))) {
            let words = Shape::new(&[layout.bytes / 8])?;
            let maker = Some(self.graph.nodes.len() as u32);
            let array = self.array(TensorType::new(DType::I64, words), None, maker)?;
            self.graph.nodes.push(Node {
                action: Action::Prepare(code.clone(), name, layout.operand),
                row: index as u32,
                operands: operands.clone(),
                results: [array].into_iter().collect(),
                prepared: None,
                blocks: layout.pieces,
                work: layout.bytes,
                scratch: 0,
                infallible,
                onto: None,
                adds: None,
            });
            prepared = Some(array);
        }
        for (o, source) in operands.iter_mut().enumerate() {
            source.cut = source.strides.is_none() && code.is_some_and(|c| c.cut(o, &types, &row.results));
        }
        let maker = Some(self.graph.nodes.len() as u32);
        let onto = code
            .and_then(|c| c.onto())
            .filter(|&o| blocks <= 1 || operands.get(o).is_some_and(|s| s.cut))
            .and_then(|o| Some((o, self.given_up(row.operands.get(o)?, row.results.first()?)?)));
        let mut results = SmallVec::new();
        self.first[index] = self.graph.arrays.len() as u32;
        for &ty in row.results.iter() {
            results.push(self.array(ty, None, maker)?);
        }
        if let Some((_, acc)) = onto {
            self.graph.arrays[self.first[index] as usize].root = acc;
        }
        let action = match (&row.op, code) {
            (Op::Control(Control::Guard { recorded }), _) => Action::Guard { recorded: *recorded },
            (_, Some(code)) => Action::Compute(code.clone(), name),
            (op, None) => return Err(blame(ErrorKind::Malformed(format!("{op:?} has no numbers")))),
        };
        let row = index as u32;
        self.graph.nodes.push(Node {
            action,
            row,
            operands,
            results,
            prepared,
            blocks,
            work,
            scratch,
            infallible,
            onto: onto.and_then(|(o, _)| u8::try_from(o).ok()),
            adds: None,
        });
        Ok(())
    }

    /// The array of a value of this type that one row reads and nothing keeps, made for it alone: that row's result
    /// may lie there. Not one whose parts are alike, which is made once for all of them.
    fn given_up(&self, value: &Value, ty: &TensorType) -> Option<u32> {
        let id = self.of(value);
        let array = &self.graph.arrays[id as usize];
        let Node { action, results, .. } = &self.graph.nodes[array.maker? as usize];
        let repeats = matches!(action.code(), Some(Code::View(_)));
        // Another name of an array is none of the results of the node that made it.
        let alone = results.contains(&id) && self.uses[value.row as usize] == 1 && *array.ty == *ty;
        (alone && !repeats).then_some(array.root)
    }

    /// The nodes of a row that is computed slab by slab: its parts, and their sum.
    fn fold(
        &mut self,
        index: usize,
        mut operands: SmallVec<[Source; 2]>,
        fold: Fold,
        work: usize,
    ) -> Result<()> {
        operands.iter_mut().for_each(|source| source.cut = true);
        let (ty, maker) = (*fold.ty, self.graph.nodes.len() as u32);
        let all = Shape::new(&[segments(fold.slabs), ty.shape.elements()])?;
        let parts = self.array(TensorType::new(ty.dtype, all), None, Some(maker))?;
        self.first[index] = self.array(ty, None, Some(maker + 1))?;
        let blocks = fold.slabs;
        let action = Action::Fold(Box::new(fold));
        self.graph.nodes.push(Node {
            action,
            operands,
            blocks,
            work,
            ..Node::copy(index as u32, parts, parts, &ty)
        });
        let sum = Node { action: Action::Join, ..Node::copy(index as u32, parts, self.first[index], &ty) };
        self.graph.nodes.push(sum);
        if let Some(Node { operands, .. }) = self.graph.nodes.last_mut() {
            operands[0].cut = false;
        }
        Ok(())
    }

    fn leaf(&mut self, leaf: &Leaf, ty: TensorType) -> Result<u32> {
        let constant = self.graph.constants.len();
        let place = match leaf {
            Leaf::Input(i) => Place::Input(*i),
            Leaf::State(s) => Place::State(self.state(*s)),
            Leaf::Constant(tensor) => {
                self.graph.constants.push(Constant::Array(tensor.clone()));
                Place::Constant(constant)
            }
            Leaf::Fill(value) => {
                if let Some(&known) = self.filled.get(&(value.to_bits(), ty)) {
                    return Ok(known);
                }
                self.filled.insert((value.to_bits(), ty), self.graph.arrays.len() as u32);
                let at = *self.fills.entry((value.to_bits(), ty.dtype)).or_insert(constant);
                if at == constant {
                    self.graph.constants.push(Constant::Fill { value: *value, dtype: ty.dtype, len: 0 });
                }
                Place::Fill(at)
            }
            Leaf::Placeholder => {
                let what = "a rule that must be linear in its tangents uses their values, or a variable left its vmap";
                return Err(ErrorKind::Malformed(what.into()).into());
            }
        };
        self.array(ty, Some(place), None)
    }

    /// The array of a value that outlives the steps: a copy where it is a leaf.
    fn kept(&mut self, value: &Value) -> Result<u32> {
        let array = self.of(value);
        let Array { ty, leaf, .. } = &self.graph.arrays[array as usize];
        if leaf.is_none() {
            return Ok(array);
        }
        let (ty, maker) = (**ty, Some(self.graph.nodes.len() as u32));
        let copy = self.array(ty, None, maker)?;
        self.graph.nodes.push(Node::copy(value.row, array, copy, &ty));
        Ok(copy)
    }
}
