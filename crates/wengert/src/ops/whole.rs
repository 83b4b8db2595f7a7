//! Arithmetic of whole numbers and of truth values: what has no derivative.

use crate::dtype::DType;
use crate::error::{DTypeError, ErrorKind};
use crate::ir::{
    Attr, Attrs, Body, Discrete, Form, Kernel, Op, Primitive, ResultTypes, Var, Vars, one, operands,
};
use crate::ops::movement::batch_all;
use crate::ops::registry::{Registered, Sampler, Spec};
use crate::shape::{TensorType, same_dtype, same_shape};

/// A function of two integers, which wraps around, or of two truth values.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Whole {
    Add,
    Sub,
    Mul,
    Max,
    Min,
    And,
    Or,
}
const FUNCTIONS: [(Whole, &str, Primitive); 7] = [
    (Whole::Add, "add", Primitive::Add),
    (Whole::Sub, "sub", Primitive::Sub),
    (Whole::Mul, "mul", Primitive::Mul),
    (Whole::Max, "maximum", Primitive::Max),
    (Whole::Min, "minimum", Primitive::Min),
    (Whole::And, "and", Primitive::And),
    (Whole::Or, "or", Primitive::Or),
];
impl Whole {
    fn known(self) -> (&'static str, Primitive) {
        let (_, word, primitive) = FUNCTIONS[self as usize];
        (word, primitive)
    }
    /// The types that it takes.
    fn types(self) -> &'static [DType] {
        if matches!(self, Self::And | Self::Or) { &[DType::Bool] } else { DType::INTEGERS }
    }
}
impl Kernel for Whole {
    fn name(&self) -> &'static str {
        "whole"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with("function", Attr::Text(self.known().0.into()))
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        let [a, b] = operands(types)?;
        if !self.types().contains(&a.dtype) {
            return Err(DTypeError::Expected { expected: self.types(), found: a.dtype }.into());
        }
        same_dtype(a, b)?;
        same_shape(a.shape, b.shape)?;
        one(a.dtype, a.shape)
    }
    fn form(&self, x: &[TensorType]) -> Form {
        Form::traced(Body::of(self.known().1, &[x[0].dtype; 2]))
    }
}
impl Discrete for Whole {
    fn batched<'t>(&self, x: &[Var<'t>], batched: &[bool]) -> Vars<'t> {
        let x = batch_all(x, batched);
        x[0].binary(Op::discrete(*self), x[1]).into()
    }
}
impl Registered for Whole {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        let word = attrs.text("function")?;
        let known = FUNCTIONS.iter().find(|(_, w, _)| *w == word);
        known.map(|(f, ..)| *f).ok_or_else(|| ErrorKind::Malformed(format!("no function {word} of integers")))
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = s.shape(3);
        let (function, ..) = FUNCTIONS[s.below(FUNCTIONS.len())];
        let spec = match function.types() {
            [DType::Bool] => Spec::bool(shape),
            // Of any size, so that some wrap around; or small ones, of a type that the bound decides.
            _ if s.below(2) == 0 => Spec::key(shape),
            _ => Spec::index(shape, 250 + s.below(3)),
        };
        (function, vec![spec.clone(), spec])
    }
}
