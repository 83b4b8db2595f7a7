//! What an op computes, as data: executors and passes match forms, as transforms match kinds.

use std::fmt;
use std::ops::Deref;

#[cfg(feature = "nets")]
use super::convolution::Convolution;
use super::list::List;
use crate::dtype::DType;
use crate::error::{DTypeError, ErrorKind, ShapeError};
use crate::kernels::Body;
use crate::shape::{MAX_RANK, Shape, TensorType, one_float_type};

/// What an op computes of operands of given types.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Form {
    /// Element by element: each element of the results is that of a [`Body`] at the same place of all operands.
    Map(Body),
    /// Elements of the only operand, rearranged: reshape, permute, broadcast and slice.
    View(IndexMap),
    /// The only operand, reduced over neighbouring axes.
    Reduce(Reduction),
    /// A sum of products over named axes.
    Contract(Contraction),
    /// A convolution, or its transpose by an operand.
    #[cfg(feature = "nets")]
    Convolve(Convolution),
    /// Parts of an array, picked or added to.
    Indexed(Indexed),
    /// Whatever [`Kernel::eval`](super::Kernel::eval) does.
    Opaque(Opaque),
    /// None, and why: the error of whoever wants the op's numbers.
    Missing(ErrorKind),
}

/// Element `i` of the result is the operand's element at `offset + Σ iₖ · strides[k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexMap {
    /// Where the result's first element lies in the operand.
    pub offset: isize,
    /// How far apart neighbours along each axis of the result lie in the operand.
    pub strides: [isize; MAX_RANK],
}

impl IndexMap {
    /// The elements in the same order, for a result of this shape.
    pub fn row_major(shape: Shape) -> Self {
        Self { offset: 0, strides: shape.strides() }
    }

    /// Whether element `i` of a result of this shape is the operand's element `i`.
    pub fn keeps_order(&self, shape: Shape) -> bool {
        let own = shape.strides();
        self.offset == 0 && (0..shape.rank()).all(|a| shape[a] == 1 || self.strides[a] == own[a])
    }

    /// The same from the first element on.
    pub(crate) fn without_offset(&self) -> Self {
        Self { offset: 0, ..*self }
    }

    /// Whether a result has all elements of the operand in the same order: it only has another shape.
    pub(crate) fn reshapes(&self, from: Shape, to: Shape) -> bool {
        from.elements() == to.elements() && self.keeps_order(to)
    }

    /// Whether each row of the result (along its outermost axis) reads the elements of the operand in the same place, and
    /// no others.
    pub(crate) fn stays_in_rows(&self, to: Shape, from: Shape) -> bool {
        let Self { offset, strides } = self;
        let ((axis, count), elements) = (to.outermost(), from.elements());
        let row = if to.rank() > axis { strides[axis] } else { 0 };
        if row <= 0 || to.contains(&0) || count.checked_mul(row as usize) != Some(elements) {
            return false;
        }
        let reach = |sign: isize| -> isize {
            let inner = to.iter().zip(strides).skip(axis + 1);
            inner.map(|(&d, &s)| (d as isize - 1) * s).filter(|r| r * sign > 0).sum()
        };
        offset + reach(-1) >= 0 && offset + reach(1) < row
    }

    /// Whether a result of this shape, in so many chunks, has the same elements in each of them.
    pub(crate) fn repeats(&self, to: Shape, chunks: usize) -> bool {
        // The first axes, as many as make up the chunks.
        let mut left = chunks;
        for (&size, &stride) in to.iter().zip(&self.strides) {
            if left == 1 || size == 0 || !left.is_multiple_of(size) || (size > 1 && stride != 0) {
                break;
            }
            left /= size;
        }
        chunks > 1 && left == 1
    }

    /// Whether all elements of a result of this shape are among so many.
    fn inside(&self, shape: Shape, elements: usize) -> bool {
        let reach = |sign: isize| {
            shape.iter().zip(self.strides).try_fold(self.offset, |at, (&size, stride)| {
                let last = isize::try_from(size.saturating_sub(1)).ok()?.checked_mul(stride)?;
                at.checked_add(if last.signum() == sign { last } else { 0 })
            })
        };
        let fits =
            |at: Option<isize>| at.and_then(|at| usize::try_from(at).ok()).is_some_and(|at| at < elements);
        shape.elements() == 0 || (fits(reach(-1)) && fits(reach(1)))
    }
}

/// How elements become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Monoid {
    /// Their sum, of floats: 0 over nothing. Added as a tree whose shape depends on the sizes only.
    Sum,
    /// The largest; NaN where any is NaN.
    Max,
}

/// A reduction over neighbouring axes, which disappear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// How elements become one.
    pub monoid: Monoid,
    /// The first axis that is reduced.
    pub axis: usize,
    /// How many are.
    pub count: usize,
}

/// The names of the axes of an array, a letter each.
///
/// ```
/// use wengert::ir::Labels;
/// let rows: Labels = b"ik".into();
/// assert_eq!((rows.len(), rows[1]), (2, b'k'));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Labels {
    /// More than any shape has axes: what does not fit here fits no array either.
    names: [u8; 15],
    len: u8,
}
impl FromIterator<u8> for Labels {
    fn from_iter<I: IntoIterator<Item = u8>>(names: I) -> Self {
        let mut labels = Self::default();
        for (to, name) in labels.names.iter_mut().zip(names) {
            (*to, labels.len) = (name, labels.len + 1);
        }
        labels
    }
}
impl<const N: usize> From<&[u8; N]> for Labels {
    fn from(names: &[u8; N]) -> Self {
        names.iter().copied().collect()
    }
}
impl Deref for Labels {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.names[..usize::from(self.len)]
    }
}
impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self).fmt(f)
    }
}

/// The axes of a contraction by name: `out = Σ lhs · rhs` over the names that `out` lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Contraction {
    /// The name of each axis of the first operand.
    pub lhs: Labels,
    /// The name of each axis of the second.
    pub rhs: Labels,
    /// The name of each axis of the result.
    pub out: Labels,
    /// The operands (a bit each) whose zeros stand for themselves, whatever they are multiplied by.
    pub gates: u64,
}

impl Contraction {
    /// All names, each once, those of the result first.
    pub fn names(&self) -> impl Iterator<Item = u8> + '_ {
        let all = move || self.out.iter().chain(&*self.lhs).chain(&*self.rhs).copied();
        all()
            .enumerate()
            .filter(move |(i, name)| !all().take(*i).any(|other| other == *name))
            .map(|(_, name)| name)
    }

    /// `ij,jk->ik`.
    pub fn text(&self) -> String {
        let text = String::from_utf8_lossy;
        format!("{},{}->{}", text(&self.lhs), text(&self.rhs), text(&self.out))
    }

    /// The size of a named axis, where the operands agree.
    pub fn size(&self, name: u8, lhs: Shape, rhs: Shape) -> Result<usize, ErrorKind> {
        let of = |names: &[u8], shape: Shape| {
            names.iter().position(|&n| n == name).and_then(|i| shape.get(i).copied())
        };
        match (of(&self.lhs, lhs), of(&self.rhs, rhs)) {
            (Some(a), Some(b)) if a != b => {
                let (label, spec) = (name as char, self.text());
                Err(ShapeError::Label { label, spec, sizes: (a, b) }.into())
            }
            (Some(a), _) | (None, Some(a)) => Ok(a),
            (None, None) => Err(ErrorKind::Argument(format!("`{}` invents `{}`", self.text(), name as char))),
        }
    }

    /// The type of the result.
    pub fn infer(&self, lhs: TensorType, rhs: TensorType) -> Result<TensorType, ErrorKind> {
        one_float_type(&[lhs, rhs])?;
        if lhs.shape.rank() != self.lhs.len() || rhs.shape.rank() != self.rhs.len() {
            let (lhs, rhs, spec) = (lhs.shape, rhs.shape, self.text());
            return Err(ShapeError::Other(format!("{lhs} and {rhs} have not the axes of `{spec}`")).into());
        }
        for name in self.names() {
            self.size(name, lhs.shape, rhs.shape)?;
            let times = [self.lhs, self.rhs, self.out].map(|l| l.iter().filter(|&&n| n == name).count());
            if times.iter().any(|&times| times > 1) {
                return Err(ErrorKind::Argument(format!("`{}` has `{}` twice", self.text(), name as char)));
            }
            if times.iter().sum::<usize>() < 2 {
                return Err(ErrorKind::Argument(format!(
                    "`{}` sums `{}` over one operand alone; sum that first",
                    self.text(),
                    name as char
                )));
            }
        }
        let dims: Result<Vec<usize>, _> =
            self.out.iter().map(|&n| self.size(n, lhs.shape, rhs.shape)).collect();
        Ok(TensorType::new(lhs.dtype, Shape::new(&dims?)?))
    }
}

/// What becomes of a number that is there, and one that is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScatterMode {
    /// The one that is written.
    Set,
    /// Their sum, of floats.
    Add,
    /// The larger of two floats; NaN where either is.
    Max,
}

/// Parts of arrays. An index is an array of integers; a run fails at the first that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Indexed {
    /// Rows `[batch…, picks…, row…]` of an array `[batch…, rows, row…]` that an index `[batch…, picks…]` names, where the
    /// first `batch` axes run together.
    Gather {
        /// The number of common axes.
        batch: usize,
    },
    /// An array, and rows put together with those in the places that an index names (array, rows, index), in order.
    Scatter {
        /// The number of common axes.
        batch: usize,
        /// What becomes of a row that is there, and one that is written to it.
        mode: ScatterMode,
    },
    /// An array with another added to a part of it: element `i` of that where the map says.
    AddPart(IndexMap),
    /// An array with another in the place of a part of it.
    SetPart(IndexMap),
}

impl Indexed {
    /// The batches, or without any the picks of a gather: everything but the rows of no batch is cut into them.
    pub(crate) fn blocks(&self, operands: &[TensorType]) -> usize {
        match (self, operands) {
            (Self::Gather { batch: 0 }, [_, index]) => index.shape.elements(),
            // Without batches any row may be named by any pick.
            (Self::Scatter { batch: 0, .. }, _) => 1,
            (Self::Gather { batch } | Self::Scatter { batch, .. }, [x, ..]) => {
                x.shape[..*batch].iter().product()
            }
            (Self::AddPart(map) | Self::SetPart(map), [x, part])
                if Self::in_rows(map, x.shape, part.shape) =>
            {
                x.shape.outermost().1
            }
            _ => 1,
        }
    }

    /// Whether a block reads of operand `i` only the block in the same place.
    pub(crate) fn chunked(&self, i: usize, operands: &[TensorType]) -> bool {
        match (self, operands) {
            (Self::Gather { batch }, _) => i == 1 || *batch > 0,
            (Self::Scatter { batch, .. }, _) => *batch > 0,
            (Self::AddPart(map) | Self::SetPart(map), [x, part]) => Self::in_rows(map, x.shape, part.shape),
            _ => false,
        }
    }

    /// Whether a part takes all rows along the outermost axis as they are, and stays within each.
    pub(crate) fn in_rows(map: &IndexMap, of: Shape, part: Shape) -> bool {
        part.rank() == of.rank() && part.outermost() == of.outermost() && map.stays_in_rows(part, of)
    }

    /// The shape of the rows that an index picks.
    pub fn picked(batch: usize, x: TensorType, index: TensorType) -> Result<Shape, ErrorKind> {
        if !index.dtype.is_integer() {
            return Err(DTypeError::Expected { expected: DType::INTEGERS, found: index.dtype }.into());
        }
        if x.shape.rank() <= batch || index.shape.rank() < batch || x.shape[..batch] != index.shape[..batch] {
            return Err(ShapeError::Other(format!(
                "an index {} does not pick rows of {} with {batch} leading axes in common",
                index.shape, x.shape
            ))
            .into());
        }
        let dims: Vec<usize> = index.shape.iter().chain(&x.shape[batch + 1..]).copied().collect();
        Shape::new(&dims)
    }
}

/// What an executor may know of an op that computes its numbers by itself. By default nothing: all of it is one block,
/// which may fail.
///
/// ```
/// use wengert::ir::Opaque;
/// // Eight rows that do not depend on one another, each read from the same rows of operand 0, with a kilobyte of scratch.
/// let rows = Opaque::default().in_blocks(8).chunked(0).with_scratch(1024).infallible();
/// # let _ = rows;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opaque {
    pub(crate) blocks: usize,
    pub(crate) chunked: u64,
    pub(crate) scratch: usize,
    pub(crate) work: Option<usize>,
    pub(crate) infallible: bool,
    pub(crate) returns: Option<usize>,
}

impl Default for Opaque {
    fn default() -> Self {
        Self { blocks: 1, chunked: 0, scratch: 0, work: None, infallible: false, returns: None }
    }
}

impl Opaque {
    /// The results are so many equal pieces, in row-major order, that do not depend on one another and have the same bits
    /// however they are computed. It divides every result's length.
    pub fn in_blocks(self, blocks: usize) -> Self {
        Self { blocks, ..self }
    }
    /// Each block reads of operand `i` only the block in the same place: a call gets the pieces of its blocks only. Operands
    /// from the 64th on stay whole.
    pub fn chunked(self, i: usize) -> Self {
        Self { chunked: self.chunked | 1u64.checked_shl(i as u32).unwrap_or(0), ..self }
    }
    /// Bytes of scratch that one call needs.
    pub fn with_scratch(self, bytes: usize) -> Self {
        Self { scratch: bytes, ..self }
    }
    /// How much work all blocks are, in units of about one element moved and computed; by default the elements of the
    /// largest array. What a plan decides by whether to share it among threads.
    pub fn with_work(self, work: usize) -> Self {
        Self { work: Some(work), ..self }
    }
    /// The only result is operand `i`, of the same type: whatever else is read tells derivatives, and no plan runs the op.
    pub fn returning(self, i: usize) -> Self {
        Self { returns: Some(i), ..self }
    }
    /// No data can make it fail. States are written in place only after everything that may fail; if such an op fails
    /// nevertheless, they may have changed.
    pub fn infallible(self) -> Self {
        Self { infallible: true, ..self }
    }
}

/// Whether a block reads of operand `i` only one block, as the bits of [`Opaque`] say.
pub(crate) fn one_block(chunked: u64, i: usize) -> bool {
    chunked.checked_shr(i as u32).unwrap_or(0) & 1 == 1
}

impl Form {
    /// The form of a body that could be made, or not.
    pub(crate) fn traced(body: Result<Body, ErrorKind>) -> Self {
        body.map_or_else(Self::Missing, Self::Map)
    }

    /// Holds a form against the types that an op infers: what an executor then relies on.
    pub fn check(&self, operands: &[TensorType], results: &[TensorType]) -> Result<(), ErrorKind> {
        let wrong =
            |what: String| Err(ErrorKind::Malformed(format!("a form that does not fit its op: {what}")));
        let types = || {
            let list =
                |types: &[TensorType]| types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("{} -> {}", list(operands), list(results))
        };
        let fits = match (self, operands, results) {
            (Self::Map(body), ..) => {
                let elements = results.first().map_or(0, |ty| ty.shape.elements());
                let made: List<DType> =
                    body.results().iter().map(|&y| body.dtype(y)).collect::<Result<_, _>>()?;
                operands.iter().map(|ty| ty.dtype).eq(body.operands().iter().copied())
                    && results.iter().map(|ty| ty.dtype).eq(made)
                    && operands.iter().chain(results).all(|ty| ty.shape.elements() == elements)
            }
            (Self::View(map), [x], [y]) => x.dtype == y.dtype && map.inside(y.shape, x.shape.elements()),
            (Self::Reduce(Reduction { monoid, axis, count }), [x], [y]) => {
                axis.saturating_add(*count) <= x.shape.rank()
                    && x.dtype == y.dtype
                    && x.shape.remove(*axis, *count) == y.shape
                    && match monoid {
                        Monoid::Sum => x.dtype.is_float() || x.dtype == DType::I64,
                        Monoid::Max => x.shape.split_at(*axis, *count).1 > 0,
                    }
            }
            (Self::Contract(names), [lhs, rhs], [y]) => names.infer(*lhs, *rhs)? == *y,
            #[cfg(feature = "nets")]
            (Self::Convolve(convolution), [a, b], [y]) => convolution.infer(*a, *b)? == *y,
            (Self::Indexed(Indexed::Gather { batch }), [x, index], [y]) => {
                Indexed::picked(*batch, *x, *index)? == y.shape && x.dtype == y.dtype
            }
            (Self::Indexed(writes), [x, part, rest @ ..], [y]) => {
                let set =
                    matches!(writes, Indexed::Scatter { mode: ScatterMode::Set, .. } | Indexed::SetPart(_));
                x == y
                    && x.dtype == part.dtype
                    && (set || x.dtype.is_float())
                    && match (writes, rest) {
                        (Indexed::Scatter { batch, .. }, [index]) => {
                            Indexed::picked(*batch, *x, *index)? == part.shape
                        }
                        (Indexed::AddPart(map) | Indexed::SetPart(map), []) => {
                            map.inside(part.shape, x.shape.elements())
                        }
                        _ => false,
                    }
            }
            (Self::Missing(kind), ..) => return Err(kind.clone()),
            (Self::Opaque(Opaque { blocks, chunked, returns, .. }), ..) => {
                if let Some(i) = *returns
                    && operands.get(i..=i) != Some(results)
                {
                    return wrong(types());
                }
                let divides = |ty: &TensorType| *blocks > 0 && ty.shape.elements().is_multiple_of(*blocks);
                let nothing = results.iter().all(|ty| ty.shape.elements() == 0);
                if let Some(ty) = results.iter().find(|ty| !nothing && !divides(ty)) {
                    return Err(ErrorKind::Malformed(format!("{blocks} blocks do not divide {ty}")));
                }
                nothing || operands.iter().enumerate().all(|(i, ty)| !one_block(*chunked, i) || divides(ty))
            }
            _ => false,
        };
        if fits { Ok(()) } else { wrong(types()) }
    }
}
