//! Contractions as loops over matrix products.

use smallvec::SmallVec;

use super::{Call, Laid, Preparation, Prepared, Strides};
use crate::dtype::{Native, with_float};
use crate::error::Fault;
use crate::ir::{Contraction, Labels, Operand};
use crate::kernels::contract::{Axis, Loops, MAX_LABELS};
use crate::shape::TensorType;

/// A contraction in loops.
#[derive(Clone)]
pub(crate) struct Names(Contraction);

impl Names {
    pub(super) fn of(names: &Contraction) -> Self {
        Self(*names)
    }

    pub(crate) fn names(&self) -> Contraction {
        self.0
    }

    pub(super) fn work(&self, operands: &[TensorType]) -> usize {
        /// Multiplications that a matrix product does in the time of one unit.
        const PRODUCTS: usize = 32;
        let [lhs, rhs] = operands else { return 0 };
        let names = self.names();
        let size = |name| names.size(name, lhs.shape, rhs.shape).unwrap_or(1);
        names.names().map(size).fold(1, usize::saturating_mul) / PRODUCTS
    }

    pub(super) fn cut(&self, i: usize) -> bool {
        let own = if i == 0 { &self.0.lhs } else { &self.0.rhs };
        self.0.out.first().is_some_and(|first| own.first() == Some(first))
    }

    pub(super) fn scratch(&self, operands: &[TensorType]) -> usize {
        let [lhs, rhs] = operands else { return 0 };
        let loops = self.loops([lhs, rhs], None, None);
        let bytes: Result<usize, Fault> =
            with_float!(lhs.dtype, T => Ok(loops.scratch_len::<T>().saturating_mul(size_of::<T>())));
        bytes.unwrap_or(0)
    }

    pub(super) fn prepared(&self, operands: &[TensorType]) -> Option<Prepared> {
        let [lhs, rhs] = operands else { return None };
        let loops = self.loops([lhs, rhs], None, None);
        let (bytes, pieces) = with_float!(lhs.dtype, T => {
            Ok::<_, Fault>((loops.packed_len::<T>() * size_of::<T>(), loops.pieces::<T>()))
        })
        .ok()?;
        (bytes > 0).then_some(Prepared { operand: loops.right(), bytes, pieces })
    }

    pub(super) fn prepare(&self, call: Preparation<'_, '_>) -> Result<(), Fault> {
        let [lhs, rhs] = call.operands else { return Err(Fault::Type) };
        let loops = self.loops([lhs.ty, rhs.ty], call.strides, None);
        with_float!(lhs.ty.dtype, T => {
            let right = call.operands[loops.right()].elements::<T>()?;
            loops.pack(call.isa, call.pieces, right, bytemuck::cast_slice_mut(call.out))
        })
    }

    pub(super) fn strided(&self, operands: &[TensorType], strides: &[Option<Box<Strides>>]) -> bool {
        let [lhs, rhs] = operands else { return false };
        let plain = self.loops([lhs, rhs], None, None);
        plain.same_bits(&self.loops([lhs, rhs], Some(strides), None))
    }

    pub(super) fn run(&self, call: Call<'_, '_>) -> Result<(), Fault> {
        let [lhs, rhs] = call.operands else { return Err(Fault::Type) };
        let loops = self.loops([lhs.ty, rhs.ty], call.strides, Some(call.blocks.len()));
        // The blocks are slabs of the result's first axis; an operand that is whole begins further on.
        let start = |labels: &Labels, operand: &Operand<'_>, i: usize| {
            let given = given(call.strides, i);
            let cut = given.is_none() && labels.first() == self.0.out.first();
            let axis = labels.iter().position(|l| Some(l) == self.0.out.first()).filter(|_| !cut);
            axis.map_or(0, |i| strides_of(operand.ty, given)[i] * call.blocks.start)
        };
        let (from_l, from_r) = (start(&self.0.lhs, lhs, 0), start(&self.0.rhs, rhs, 1));
        with_float!(lhs.ty.dtype, T => {
            let l = lhs.elements::<T>()?.get(from_l..).unwrap_or(&[]);
            let r = rhs.elements::<T>()?.get(from_r..).unwrap_or(&[]);
            let packed = bytemuck::cast_slice(call.prepared);
            let scratch = bytemuck::cast_slice_mut(&mut *call.scratch);
            let out = call.results.get_mut(0).and_then(|r| T::from_slice_mut(&mut r.data)).ok_or(Fault::Type)?;
            loops.run(call.isa, (l, r), packed, (call.alpha, call.beta), out, scratch)
        })
    }

    /// The loops over operands of these types and strides, or over some slabs of their result.
    fn loops(&self, types: [&TensorType; 2], strides: Laid<'_>, slabs: Option<usize>) -> Loops {
        let of = |i: usize| strides_of(types[i], given(strides, i));
        let (ls, rs) = (of(0), of(1));
        let size = |label| self.names().size(label, types[0].shape, types[1].shape).unwrap_or(0);
        let at = |labels: &Labels, label: u8| labels.iter().position(|&l| l == label);
        let mut axes: SmallVec<[Axis; MAX_LABELS]> = SmallVec::new();
        // Labels of the result come first, so from the last of them on its strides are products of sizes.
        let mut step = 1;
        for &label in self.0.out.iter().rev() {
            let full = size(label);
            let cut = slabs.filter(|_| Some(&label) == self.0.out.first());
            let (lhs, rhs) = (at(&self.0.lhs, label).map(|i| ls[i]), at(&self.0.rhs, label).map(|i| rs[i]));
            let labels = u128::from(label);
            axes.push(Axis { labels, size: cut.unwrap_or(full), full, lhs, rhs, out: Some(step) });
            step *= full;
        }
        axes.reverse();
        for (i, &label) in self.0.lhs.iter().enumerate().filter(|(_, l)| !self.0.out.contains(l)) {
            let full = size(label);
            axes.push(Axis {
                labels: u128::from(label),
                size: full,
                full,
                lhs: Some(ls[i]),
                rhs: at(&self.0.rhs, label).map(|i| rs[i]),
                out: None,
            });
        }
        Loops::new(&axes, self.0.gates)
    }
}

fn given(strides: Laid<'_>, i: usize) -> Option<&Strides> {
    strides.and_then(|s| s.get(i)).and_then(|s| s.as_deref())
}

/// The strides of an operand, row-major ones if none are given.
fn strides_of(ty: &TensorType, strides: Option<&Strides>) -> Strides {
    strides.copied().unwrap_or_else(|| ty.shape.strides().map(|s| s as usize))
}
