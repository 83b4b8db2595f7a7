//! Bodies over arrays: primitive by primitive, a few hundred elements at a time, which stay in the first cache.

use smallvec::SmallVec;

use super::body::{Body, Constant, Primitive, Scalar};
use super::primitives::{self, Pointer, pointer};
use super::simd::Isa;
use crate::dtype::DType;
use crate::elements::{Element, Slice, SliceMut, with_dtype};
use crate::error::{DTypeError, ErrorKind, Fault};

/// Elements that pass through all primitives before the next.
pub(crate) const CHUNK: usize = 256;
/// Bytes of what is kept of them between two primitives.
const KEPT: usize = 8 * CHUNK;

/// A body for an instruction set: the functions that its primitives are, and where what they read and write lies.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    body: Body,
    calls: SmallVec<[Call; 1]>,
    /// Copies of each constant, one behind the other in as many words for each, and how many copies there are.
    constants: Box<[u64]>,
    copies: u16,
    /// The functions that primitives call.
    functions: SmallVec<[usize; 1]>,
    /// Chunks that are kept between two primitives.
    kept: u16,
}

/// A function of small arrays: a body of one primitive, say, each of whose operands is one of the body's or a constant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Single {
    pub(crate) function: Pointer,
    /// Bytes of an element of each operand; 0 of what is its own, and of operands that it has not.
    pub(crate) bytes: [u8; 3],
    /// What it reads in the place of an operand.
    pub(crate) fixed: [Fixed; 3],
    /// Bytes of an element of the result.
    pub(crate) result: u8,
}

/// What a function reads that is its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fixed {
    Nothing,
    /// This constant of its body, as often as there are elements.
    Constant(u16),
    /// A word: where something lies.
    Word(u64),
}

impl Single {
    /// A function of so many operands, one or two, whose elements have as many bytes as those of the result, and of data: a word that says where
    /// it lies is what it finds where the next operand would be.
    pub(super) fn with_data(function: Pointer, operands: usize, bytes: u8, data: *const u8) -> Self {
        let (mut fixed, mut each) = ([Fixed::Nothing; 3], [0; 3]);
        each[..operands].fill(bytes);
        fixed[operands] = Fixed::Word(data.expose_provenance() as u64);
        Self { function, bytes: each, fixed, result: bytes }
    }

    /// A copy of elements of so many bytes.
    pub(super) fn copy(bytes: usize) -> Option<Self> {
        let (function, each) = (primitives::copy(bytes)?, bytes as u8);
        Some(Self { function, bytes: [each, 0, 0], fixed: [Fixed::Nothing; 3], result: each })
    }
}

#[derive(Clone, Copy, Debug)]
struct Call {
    function: Pointer,
    operands: [Place; 3],
    arity: u8,
    result: Place,
}

/// Where a number of each element lies, and its bytes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Operand(u16, u8),
    Result(u16, u8),
    Kept(u16),
    Constant(u16),
    /// A word with the function that the primitive calls.
    Function(u16),
}

/// Results of a body that are copies of an operand, a constant or another result.
type Copies = SmallVec<[(u16, Scalar); 1]>;

/// Where the results of a body's instructions lie.
struct Places {
    of: Vec<Option<Place>>,
    /// The last instruction that reads each.
    last: Vec<usize>,
    /// Chunks that are kept, and those of them that nothing reads any more.
    kept: u16,
    free: Vec<u16>,
}

impl Places {
    /// The places of instructions that are results of the body, and the results that are copies of something else.
    fn of_results(body: &Body) -> Result<(Self, Copies), ErrorKind> {
        let count = body.instructions().len();
        let mut places = Self { of: vec![None; count], last: vec![0; count], kept: 0, free: Vec::new() };
        for (at, i) in body.instructions().iter().enumerate() {
            for x in &i.operands[..i.primitive.arity()] {
                if let Scalar::Instruction(x) = *x {
                    places.last[x as usize] = at;
                }
            }
        }
        let mut copies = SmallVec::new();
        for (r, &y) in body.results().iter().enumerate() {
            match y {
                Scalar::Instruction(i) if places.of[i as usize].is_none() => {
                    places.of[i as usize] = Some(Place::Result(r as u16, body.dtype(y)?.bytes() as u8));
                }
                _ => copies.push((r as u16, y)),
            }
        }
        Ok((places, copies))
    }

    fn of(&self, body: &Body, x: Scalar) -> Result<Place, ErrorKind> {
        match x {
            Scalar::Operand(i) => Ok(Place::Operand(i, body.dtype(x)?.bytes() as u8)),
            Scalar::Constant(i) => Ok(Place::Constant(i)),
            Scalar::Instruction(i) => {
                self.of[i as usize].ok_or_else(|| ErrorKind::Malformed("a body that reads ahead".into()))
            }
        }
    }

    /// The place of the result of the instruction `at`, whose operands, if nothing reads them later, make room for others.
    fn make(&mut self, at: usize, operands: &[Scalar]) -> Place {
        let place = self.of[at].unwrap_or_else(|| {
            Place::Kept(self.free.pop().unwrap_or_else(|| {
                self.kept += 1;
                self.kept - 1
            }))
        });
        self.of[at] = Some(place);
        for &x in operands {
            if let Scalar::Instruction(x) = x
                && self.last[x as usize] == at
                && let Some(Place::Kept(k)) = self.of[x as usize]
                && !self.free.contains(&k)
            {
                self.free.push(k);
            }
        }
        place
    }
}

/// Fills memory with copies of a constant.
pub(crate) fn repeat(&Constant { dtype, value }: &Constant, copies: &mut [u64]) {
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(copies);
    let value = dtype.stored(value);
    with_dtype!(dtype, T => bytemuck::cast_slice_mut::<u8, T>(bytes).fill(T::from_f64(value)));
}

/// The plain function that a primitive calls, if it does.
fn called(primitive: Primitive) -> Option<usize> {
    match primitive {
        Primitive::Each(f) => Some(f.0 as usize),
        Primitive::Each2(f) => Some(f.0 as usize),
        _ => None,
    }
}

/// Words of so many copies of a constant of any type: whole registers.
fn words(copies: usize) -> usize {
    copies.next_multiple_of(8)
}

impl Compiled {
    /// The functions of a body on arrays of so many elements. An error where there are none for its types.
    pub(crate) fn new(body: &Body, elements: usize, isa: Isa) -> Result<Self, ErrorKind> {
        let most = elements.clamp(1, CHUNK);
        let (mut places, copies) = Places::of_results(body)?;
        let (mut calls, mut functions) = (SmallVec::<[Call; 1]>::new(), SmallVec::new());
        let function = |primitive: Primitive, from: DType| {
            pointer(primitive, from, isa)
                .ok_or_else(|| DTypeError::Operation { name: primitive.to_string(), operands: vec![from] })
        };
        for (at, i) in body.instructions().iter().enumerate() {
            let arity = i.primitive.arity();
            let mut operands = [Place::Constant(0); 3];
            for (o, &x) in i.operands.iter().enumerate() {
                operands[o] = places.of(body, x)?;
            }
            if let Some(called) = called(i.primitive) {
                operands[arity] = Place::Function(functions.len() as u16);
                functions.push(called);
            }
            let result = places.make(at, &i.operands[..arity]);
            let function = function(i.primitive, body.dtype(i.operands[arity - 1])?)?;
            calls.push(Call { function, operands, arity: arity as u8, result });
        }
        for (r, y) in copies {
            let (from, dtype) = (places.of(body, y)?, body.dtype(y)?);
            let result = Place::Result(r, dtype.bytes() as u8);
            let function = function(Primitive::Copy, dtype)?;
            calls.push(Call { function, operands: [from; 3], arity: 1, result });
        }
        let mut constants = vec![0; body.constants().len() * words(most)];
        let each = body.constants().iter().zip(constants.chunks_exact_mut(words(most)));
        each.for_each(|(constant, copies)| repeat(constant, copies));
        let (constants, kept) = (constants.into(), places.kept);
        Ok(Self { body: body.clone(), calls, constants, copies: most as u16, functions, kept })
    }

    /// The only call, if it reads nothing but operands, each once and in order, and constants.
    pub(crate) fn single(&self) -> Option<Single> {
        let [Call { function, operands, arity, result: Place::Result(0, result) }] = self.calls.as_slice()
        else {
            return None;
        };
        let mut single =
            Single { function: *function, bytes: [0; 3], fixed: [Fixed::Nothing; 3], result: *result };
        let mut next = 0;
        for (o, place) in operands.iter().enumerate().take(usize::from(*arity)) {
            match *place {
                Place::Operand(i, bytes) if i == next => {
                    next += 1;
                    single.bytes[o] = bytes;
                }
                Place::Constant(i) => single.fixed[o] = Fixed::Constant(i),
                _ => return None,
            }
        }
        if let Some(&Place::Function(i)) = operands.get(usize::from(*arity)) {
            single.fixed[usize::from(*arity)] = Fixed::Word(self.functions[usize::from(i)] as u64);
        }
        (next as usize == self.body.operands().len()).then_some(single)
    }

    /// Where the copies of a constant lie.
    fn constant(&self, i: u16) -> *const u8 {
        let at = usize::from(i) * words(self.copies.into());
        self.constants.get(at..).map_or(std::ptr::null(), |c| c.as_ptr().cast())
    }

    /// Whether it can be applied to this many elements of operands and results of these types.
    pub(crate) fn fits(
        &self,
        operands: impl Iterator<Item = DType>,
        results: impl Iterator<Item = DType>,
        len: usize,
    ) -> bool {
        let made = self.body.results().iter().map(|&y| self.body.dtype(y).ok());
        operands.eq(self.body.operands().iter().copied())
            && results.map(Some).eq(made)
            && (self.constants.is_empty() || len.min(CHUNK) <= self.copies.into())
    }

    /// Bytes of memory that [`run`](Self::run) needs, aligned to eight.
    pub(crate) fn scratch(&self) -> usize {
        usize::from(self.kept) * KEPT
    }

    /// Computes all elements of the results.
    pub(crate) fn run(
        &self,
        operands: &[Slice<'_>],
        results: &mut [SliceMut<'_>],
        scratch: &mut [u64],
    ) -> Result<(), Fault> {
        let len = results.first().map_or(0, |r| r.as_slice().len());
        let fits =
            self.fits(operands.iter().map(Slice::dtype), results.iter().map(|y| y.as_slice().dtype()), len)
                && operands.iter().all(|x| x.len() == len)
                && results.iter().all(|y| y.as_slice().len() == len)
                && size_of_val(scratch) >= self.scratch();
        if !fits {
            return Err(Fault::Type);
        }
        let x: SmallVec<[*const u8; 4]> = operands.iter().map(|x| x.as_bytes().as_ptr()).collect();
        let y: SmallVec<[*mut u8; 2]> = results.iter_mut().map(|y| y.as_bytes_mut().as_mut_ptr()).collect();
        // SAFETY: types, lengths and scratch were checked; results are borrowed exclusively.
        unsafe { self.apply(&x, &y, scratch.as_mut_ptr().cast(), len) };
        Ok(())
    }

    /// The same behind pointers.
    ///
    /// # Safety
    /// Operands and results are `len` elements of the body's types, results unshared and writable, but that a result may
    /// lie where an operand of as many bytes does, [if allowed](Body::in_place); `scratch` are as many bytes as are
    /// [asked for](Self::scratch).
    #[inline]
    pub(crate) unsafe fn apply(&self, x: &[*const u8], y: &[*mut u8], scratch: *mut u8, len: usize) {
        let step = if self.kept == 0 && self.constants.is_empty() { len.max(1) } else { CHUNK };
        for start in (0..len).step_by(step) {
            let count = step.min(len - start);
            for Call { function, operands, result, .. } in &self.calls {
                let [x0, x1, x2] = std::array::from_fn(|o| match operands[o] {
                    Place::Operand(i, bytes) => x[i as usize].wrapping_add(start * bytes as usize),
                    Place::Result(i, bytes) => {
                        y[i as usize].wrapping_add(start * bytes as usize).cast_const()
                    }
                    Place::Kept(i) => scratch.wrapping_add(i as usize * KEPT).cast_const(),
                    Place::Constant(i) => self.constant(i),
                    Place::Function(i) => std::ptr::from_ref(&self.functions[usize::from(i)]).cast(),
                });
                let out = match *result {
                    Place::Result(i, bytes) => y[i as usize].wrapping_add(start * bytes as usize),
                    Place::Kept(i) => scratch.wrapping_add(i as usize * KEPT),
                    _ => return,
                };
                // SAFETY: by the caller's promise all of these are `count` elements.
                unsafe { function(x0, x1, x2, out, count) };
            }
        }
    }
}
