//! Numbers that have to differ, or to be larger than zero, for a derivative to be.

use wengert::ir::{Attrs, Call, Contribution, Form, Kernel, Linear, Op, Opaque, ResultTypes, Vars};
use wengert::{Element, ErrorKind, Fault, Native, Registered, Sampler, Shape, Spec, TensorType, Var};

/// The operand, if along its last axis no neighbours are equal; and none is zero, if that is asked for too.
#[derive(Clone, Copy)]
pub(crate) struct Distinct {
    pub(crate) nonzero: bool,
    pub(crate) different: bool,
}

impl Distinct {
    #[track_caller]
    pub(crate) fn check(self, x: Var<'_>) -> Var<'_> {
        x.recorder().emit_one(Op::linear(self), &[x])
    }

    fn run<T: Native>(self, mut call: Call<'_, '_>) -> Result<(), Fault> {
        let last = call.operands[0].ty.shape.last().copied().unwrap_or(1).max(1);
        let (x, out) = call.unary::<T, T>(0)?;
        for x in x.chunks_exact(last) {
            let numbers: &[T] = x;
            if self.different && numbers.windows(2).any(|pair| pair[0].to_f64() == pair[1].to_f64()) {
                return Err(Fault::Custom("two of these values are equal: their vectors have no derivative"));
            }
            if self.nonzero && numbers.iter().any(|x| x.to_f64() == 0.0) {
                return Err(Fault::Custom("one of these values is zero: there is no derivative"));
            }
        }
        out.copy_from_slice(x);
        Ok(())
    }
}
impl Kernel for Distinct {
    fn name(&self) -> &'static str {
        "wengert_faer::distinct"
    }
    fn attrs(&self) -> Attrs {
        Attrs::new().with_flag("different", self.different).with_flag("nonzero", self.nonzero)
    }
    fn infer(&self, types: &[TensorType]) -> Result<ResultTypes, ErrorKind> {
        match types {
            [x] => Ok((*x).into()),
            _ => Err(ErrorKind::Operands { expected: 1, found: types.len() }),
        }
    }
    fn form(&self, x: &[TensorType]) -> Form {
        let last = x[0].shape.last().copied().unwrap_or(1).max(1);
        Form::Opaque(Opaque::default().in_blocks((x[0].shape.elements() / last).max(1)).chunked(0))
    }
    fn eval(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        match call.operands[0].ty.dtype {
            f32::DTYPE => self.run::<f32>(call),
            f64::DTYPE => self.run::<f64>(call),
            _ => Err(Fault::Type),
        }
    }
}
impl Linear for Distinct {
    fn transpose<'t>(&self, _: usize, ct: Var<'t>, _: &[Var<'t>]) -> Contribution<'t> {
        Contribution::Whole(ct)
    }
    fn batched<'t>(&self, x: &[Var<'t>], _: &[bool]) -> Vars<'t> {
        x[0].recorder().emit(Op::linear(*self), x)
    }
}
impl Registered for Distinct {
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind> {
        Ok(Self { nonzero: attrs.flag("nonzero")?, different: attrs.flag("different")? })
    }
    fn sample(s: &mut Sampler) -> (Self, Vec<Spec>) {
        let shape = Shape::new(&[s.below(3), 1 + s.below(4)]).unwrap_or(Shape::SCALAR);
        (Self { nonzero: false, different: false }, vec![Spec::distinct(shape)])
    }
}
