//! Scalar functions as data: what an elementwise op computes of one element of each operand.

use std::fmt;
use std::hash::{Hash, Hasher};

use std::sync::Arc;

use smallvec::SmallVec;

use crate::dtype::DType;
use crate::error::{DTypeError, ErrorKind};

/// One operation of a [`Body`]. Those of floats round, and treat NaN, infinities and signed zeros, as the methods of
/// [`Lane`](crate::Lane) of the same name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Primitive {
    /// `a + b`, of two numbers of one type. Integers wrap around, here and below.
    Add,
    /// `a − b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`.
    Div,
    /// The larger of two numbers; NaN if either is.
    Max,
    /// The smaller of two numbers; NaN if either is.
    Min,
    /// The first float to the power of the second.
    Pow,
    /// The magnitude of the first float with the sign of the second. A NaN has the sign +: its own depends on how it came about.
    CopySign,
    /// The product of two floats where a zero gives zero whatever the other is, even infinite or NaN: a zero of the first with
    /// bit 0 of the number, of the second with bit 1.
    GatedMul(u8),
    /// `a · b + c` of three floats, rounded once on instruction sets that have such an instruction, twice on others.
    MulAdd,
    /// `−x`, of a float.
    Neg,
    /// `|x|`.
    Abs,
    /// `√x`, rounded correctly; NaN below zero.
    Sqrt,
    /// The nearest whole number, of two equally near ones the even one.
    Round,
    /// The largest whole number that is not above.
    Floor,
    /// `eˣ`.
    Exp,
    /// The natural logarithm; −∞ of zero, NaN below it.
    Ln,
    /// The sine of an angle in radians.
    Sin,
    /// The cosine of an angle in radians.
    Cos,
    /// The hyperbolic tangent.
    Tanh,
    /// The error function, `2/√π · ∫₀ˣ e^(−t²) dt`.
    Erf,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// `1 / cosh² x`, the derivative of [`Tanh`](Self::Tanh), accurate far out too.
    SechSquared,
    /// A plain function of one float, called for each number, in f64.
    Each(Function),
    /// A plain function of two floats, called for each pair, in f64.
    Each2(Function2),
    /// Whether `a < b`, of two numbers of any one type; false of a NaN.
    Less,
    /// Whether `a ≤ b`; false of a NaN.
    LessEqual,
    /// Whether `a = b`; false of a NaN.
    Equal,
    /// Whether both truth values are true.
    And,
    /// Whether one of two truth values is true.
    Or,
    /// Whether a truth value is false.
    Not,
    /// Of a truth value and two numbers of any one type: the first where it is true, the second elsewhere. Nothing is computed
    /// with the number that is not chosen.
    Select,
    /// The number as another type, as Rust's `as` converts; `bool` is `!= 0`.
    Cast(DType),
    /// The same number, of any type.
    Copy,
}

/// A plain function of one number; equal to others at its address.
#[derive(Clone, Copy, Debug)]
pub struct Function(pub fn(f64) -> f64);

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        (self.0 as usize) == (other.0 as usize)
    }
}
impl Eq for Function {}
impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0 as usize).hash(state);
    }
}

/// A function of two numbers, told from others by where its code lies.
#[derive(Clone, Copy, Debug)]
pub struct Function2(pub fn(f64, f64) -> f64);

impl PartialEq for Function2 {
    fn eq(&self, other: &Self) -> bool {
        (self.0 as usize) == (other.0 as usize)
    }
}
impl Eq for Function2 {}
impl Hash for Function2 {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0 as usize).hash(state);
    }
}

impl Primitive {
    /// The functions of one float that are more than an instruction or two.
    pub(crate) const SPECIAL: [Self; 8] =
        [Self::Exp, Self::Ln, Self::Sin, Self::Cos, Self::Tanh, Self::Erf, Self::Sigmoid, Self::SechSquared];

    /// The number of operands.
    pub fn arity(self) -> usize {
        match self {
            Self::MulAdd | Self::Select => 3,
            Self::Add
            | Self::Sub
            | Self::Mul
            | Self::Div
            | Self::Max
            | Self::Min
            | Self::CopySign
            | Self::Pow
            | Self::Each2(_) => 2,
            Self::GatedMul(_) | Self::Less | Self::LessEqual | Self::Equal | Self::And | Self::Or => 2,
            _ => 1,
        }
    }

    /// The type of the result for operands of these types, if there is one.
    fn infer(self, x: &[DType]) -> Option<DType> {
        let first = *x.first()?;
        match self {
            _ if x.len() != self.arity() => None,
            Self::Select => (first == DType::Bool && x[1] == x[2]).then_some(x[1]),
            _ if x.iter().any(|&dtype| dtype != first) => None,
            Self::Copy => Some(first),
            Self::Cast(to) => Some(to),
            Self::Less | Self::LessEqual | Self::Equal => Some(DType::Bool),
            Self::And | Self::Or | Self::Not => (first == DType::Bool).then_some(first),
            Self::Add | Self::Sub | Self::Mul | Self::Max | Self::Min => {
                (first != DType::Bool).then_some(first)
            }
            _ => first.is_float().then_some(first),
        }
    }
}

impl fmt::Display for Primitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GatedMul(gates) => write!(f, "gated_mul[{gates}]"),
            Self::Cast(to) => write!(f, "cast[{to}]"),
            Self::Each(_) | Self::Each2(_) => f.write_str("each"),
            // The words of the variants: `MulAdd` is `mul_add`.
            other => {
                for (i, c) in format!("{other:?}").chars().enumerate() {
                    if i > 0 && c.is_uppercase() {
                        f.write_str("_")?;
                    }
                    write!(f, "{}", c.to_ascii_lowercase())?;
                }
                Ok(())
            }
        }
    }
}

/// A number inside of a body.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // the position of each
pub enum Scalar {
    Operand(u16),
    Constant(u16),
    Instruction(u16),
}

/// A number that is part of a body.
#[derive(Clone, Copy, Debug)]
pub struct Constant {
    /// Its type.
    pub dtype: DType,
    /// What it is, converted to that type as `as` does.
    pub value: f64,
}

impl PartialEq for Constant {
    /// Bit by bit.
    fn eq(&self, other: &Self) -> bool {
        (self.dtype, self.value.to_bits()) == (other.dtype, other.value.to_bits())
    }
}
impl Eq for Constant {}
impl Hash for Constant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.dtype, self.value.to_bits()).hash(state);
    }
}

/// One operation on numbers that come before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Instruction {
    /// What is done.
    pub primitive: Primitive,
    /// The type of the result.
    pub dtype: DType,
    /// The operands, as many as the primitive has; the rest repeats the first.
    pub operands: [Scalar; 3],
}

/// What an op computes of one element of each operand: a short program of single assignments, of which interpreters,
/// fusion, machine code and printers are made.
///
/// ```
/// use wengert::DType::{Bool, F64};
/// use wengert::ir::{Body, Primitive};
/// // x · x where x is positive, 0 elsewhere.
/// let mut b = Body::builder(&[F64]);
/// let (x, zero) = (b.operand(0)?, b.constant(F64, 0.0)?);
/// let positive = b.apply(Primitive::Less, &[zero, x])?;
/// let square = b.apply(Primitive::Mul, &[x, x])?;
/// let y = b.apply(Primitive::Select, &[positive, square, zero])?;
/// let body = b.finish(&[y])?;
/// assert_eq!(body.to_string(), "(x0: f64) { less c0=0 x0; mul x0 x0; select v0 v1 c0=0 } -> v2: f64");
/// # let _ = Bool;
/// # Ok::<(), wengert::ErrorKind>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Body(Arc<Parts>);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Parts {
    operands: SmallVec<[DType; 4]>,
    constants: SmallVec<[Constant; 1]>,
    instructions: SmallVec<[Instruction; 2]>,
    results: SmallVec<[Scalar; 2]>,
}

impl Parts {
    fn dtype(&self, of: Scalar) -> Result<DType, ErrorKind> {
        let found = match of {
            Scalar::Operand(i) => self.operands.get(i as usize).copied(),
            Scalar::Constant(i) => self.constants.get(i as usize).map(|c| c.dtype),
            Scalar::Instruction(i) => self.instructions.get(i as usize).map(|i| i.dtype),
        };
        found.ok_or_else(|| ErrorKind::Malformed(format!("a body without {of:?}")))
    }
}

impl Body {
    /// Begins a body whose operands have these types.
    pub fn builder(operands: &[DType]) -> Builder {
        Builder(Parts {
            operands: operands.iter().copied().collect(),
            constants: SmallVec::new(),
            instructions: SmallVec::new(),
            results: SmallVec::new(),
        })
    }

    /// The body of one operation on operands of these types.
    pub fn of(primitive: Primitive, operands: &[DType]) -> Result<Self, ErrorKind> {
        let mut b = Self::builder(operands);
        let x = (0..operands.len()).map(|i| b.operand(i)).collect::<Result<SmallVec<[Scalar; 3]>, _>>()?;
        let y = b.apply(primitive, &x)?;
        b.finish(&[y])
    }

    /// The types of the operands.
    pub fn operands(&self) -> &[DType] {
        &self.0.operands
    }
    /// The numbers that are part of it.
    pub fn constants(&self) -> &[Constant] {
        &self.0.constants
    }
    /// The operations, in order.
    pub fn instructions(&self) -> &[Instruction] {
        &self.0.instructions
    }
    /// Where the results come from.
    pub fn results(&self) -> &[Scalar] {
        &self.0.results
    }

    /// The type of a number inside of it; an error where there is no such number.
    pub fn dtype(&self, of: Scalar) -> Result<DType, ErrorKind> {
        self.0.dtype(of)
    }

    /// The number that the only operand is multiplied by, if that is all.
    pub(crate) fn factor(&self) -> Option<f64> {
        let ([only], [constant], [Scalar::Instruction(0)]) =
            (self.instructions(), self.constants(), self.results())
        else {
            return None;
        };
        let [a, b, _] = only.operands;
        let by = [(Scalar::Operand(0), Scalar::Constant(0)), (Scalar::Constant(0), Scalar::Operand(0))];
        (only.primitive == Primitive::Mul && self.0.operands.len() == 1 && by.contains(&(a, b)))
            .then_some(constant.value)
    }

    /// The only operation, if all operands are read in their order by one whose result is the only one.
    pub(crate) fn single(&self) -> Option<Primitive> {
        let ([only], [Scalar::Instruction(0)]) = (self.instructions(), self.results()) else { return None };
        let in_order = |(i, x): (usize, &Scalar)| *x == Scalar::Operand(i as u16);
        let operands = &only.operands[..only.primitive.arity()];
        let all = operands.len() == self.0.operands.len() && operands.iter().enumerate().all(in_order);
        all.then_some(only.primitive)
    }

    /// Each of several operations as a body of its own, and which numbers of this one that reads; `None` where a result is no operation's
    /// own, or one reads constants alone.
    pub(crate) fn steps(&self) -> Option<Vec<(Self, SmallVec<[Scalar; 3]>)>> {
        let own = |(i, y): (usize, &Scalar)| {
            matches!(y, Scalar::Instruction(_)) && !self.results()[..i].contains(y)
        };
        let several = self.instructions().len() > 1 && self.results().iter().enumerate().all(own);
        let step = |i: &Instruction| {
            let operands = &i.operands[..i.primitive.arity()];
            let constant = |x: &Scalar| matches!(x, Scalar::Constant(_));
            let read: SmallVec<[Scalar; 3]> = operands.iter().filter(|x| !constant(x)).copied().collect();
            let types: SmallVec<[DType; 3]> =
                read.iter().map(|&x| self.dtype(x)).collect::<Result<_, _>>().ok()?;
            let (mut b, mut next) = (Self::builder(&types), 0..types.len());
            let own = operands.iter().map(|&x| match x {
                Scalar::Constant(c) => {
                    let Constant { dtype, value } = self.constants()[usize::from(c)];
                    b.constant(dtype, value).ok()
                }
                _ => b.operand(next.next()?).ok(),
            });
            let own = own.collect::<Option<SmallVec<[Scalar; 3]>>>()?;
            let y = b.apply(i.primitive, &own).ok()?;
            Some((b.finish(&[y]).ok()?, read)).filter(|(_, read)| !read.is_empty())
        };
        if several { self.instructions().iter().map(step).collect() } else { None }
    }

    /// Whether a result may lie where an operand of as many bytes does: no operand is read once a result is written. Results
    /// that are operands are copied when all instructions are done.
    pub(crate) fn in_place(&self) -> bool {
        let count = self.0.instructions.len();
        let is_operand = |x: &Scalar| matches!(x, Scalar::Operand(_));
        let position = |y: &Scalar| if let Scalar::Instruction(i) = y { usize::from(*i) } else { count };
        let written = self.0.results.iter().map(position).min().unwrap_or(count);
        let read = |i: &Instruction| i.operands[..i.primitive.arity()].iter().any(is_operand);
        let copied = self.0.results.iter().filter(|y| is_operand(y)).count();
        !self.0.instructions.iter().skip(written + 1).any(read)
            && (copied == 0 || (written == count && self.0.results.len() == 1))
    }
}

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |f: &mut fmt::Formatter<'_>, x: Scalar| match x {
            Scalar::Operand(i) => write!(f, "x{i}"),
            Scalar::Constant(i) => write!(f, "c{i}={}", self.0.constants[i as usize].value),
            Scalar::Instruction(i) => write!(f, "v{i}"),
        };
        f.write_str("(")?;
        for (i, dtype) in self.0.operands.iter().enumerate() {
            write!(f, "{}x{i}: {dtype}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str(") {")?;
        for (i, Instruction { primitive, operands, .. }) in self.0.instructions.iter().enumerate() {
            write!(f, "{} {primitive}", if i > 0 { ";" } else { "" })?;
            for &x in &operands[..primitive.arity()] {
                f.write_str(" ")?;
                name(f, x)?;
            }
        }
        f.write_str(" } -> ")?;
        for (i, &y) in self.0.results.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            name(f, y)?;
            write!(f, ": {}", self.dtype(y).map_err(|_| fmt::Error)?)?;
        }
        Ok(())
    }
}

/// A [`Body`] in the making.
#[derive(Clone, Debug)]
pub struct Builder(Parts);

impl Builder {
    /// An operand; an error where there are fewer.
    pub fn operand(&self, i: usize) -> Result<Scalar, ErrorKind> {
        let operand = u16::try_from(i).map(Scalar::Operand);
        let operand = operand.map_err(|_| ErrorKind::Argument(format!("a body has no operand {i}")))?;
        self.0.dtype(operand).map(|_| operand)
    }

    /// A number of this type, converted as `as` does.
    pub fn constant(&mut self, dtype: DType, value: f64) -> Result<Scalar, ErrorKind> {
        let constant = Constant { dtype, value };
        let at = self.0.constants.iter().position(|c| *c == constant).unwrap_or(self.0.constants.len());
        if at == self.0.constants.len() {
            self.0.constants.push(constant);
        }
        position(at).map(Scalar::Constant)
    }

    /// The result of an operation. An error where it has no such operands.
    pub fn apply(&mut self, primitive: Primitive, operands: &[Scalar]) -> Result<Scalar, ErrorKind> {
        let types = operands.iter().map(|&x| self.0.dtype(x)).collect::<Result<SmallVec<[DType; 3]>, _>>()?;
        let dtype = primitive
            .infer(&types)
            .ok_or_else(|| DTypeError::Operation { name: primitive.to_string(), operands: types.to_vec() })?;
        let at = position(self.0.instructions.len())?;
        let operands = std::array::from_fn(|i| operands.get(i).copied().unwrap_or(operands[0]));
        self.0.instructions.push(Instruction { primitive, dtype, operands });
        Ok(Scalar::Instruction(at))
    }

    /// The body with these results, without what none of them needs.
    pub fn finish(self, results: &[Scalar]) -> Result<Body, ErrorKind> {
        let Self(mut body) = self;
        results.iter().try_for_each(|&y| body.dtype(y).map(|_| ()))?;
        position(results.len())?;
        let mut live = vec![false; body.instructions.len()];
        let mark = |live: &mut [bool], x: Scalar| {
            if let Scalar::Instruction(i) = x {
                live[i as usize] = true;
            }
        };
        results.iter().for_each(|&y| mark(&mut live, y));
        for i in (0..live.len()).rev().filter(|&i| body.instructions[i].primitive.arity() > 0) {
            if live[i] {
                body.instructions[i].operands.iter().for_each(|&x| mark(&mut live, x));
            }
        }
        let mut now = 0;
        let moved: Vec<u16> = live
            .iter()
            .map(|&live| {
                let at = now;
                now += u16::from(live);
                at
            })
            .collect();
        let to = |x: Scalar| match x {
            Scalar::Instruction(i) => Scalar::Instruction(moved[i as usize]),
            other => other,
        };
        let mut at = 0;
        body.instructions.retain(|_| {
            at += 1;
            live[at - 1]
        });
        body.instructions.iter_mut().for_each(|i| i.operands = i.operands.map(to));
        body.results = results.iter().map(|&y| to(y)).collect();
        Ok(Body(Arc::new(body)))
    }
}

/// A position in a body: two bytes count what it has.
fn position(at: usize) -> Result<u16, ErrorKind> {
    let fits = u16::try_from(at).ok().filter(|&at| at < u16::MAX);
    fits.ok_or_else(|| ErrorKind::Argument(format!("a body of more than {} operations", u16::MAX)))
}
