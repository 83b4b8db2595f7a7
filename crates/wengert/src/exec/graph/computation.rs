//! What a node computes: the form of a row's op, and what every executor may know of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use super::Strides;
use crate::error::{ErrorKind, Result};
use crate::ir::{
    Body, Contraction, Form, Indexed, List, Monoid, Op, Opaque, Primitive, Reduction, ValueHasher, one_block,
};
use crate::kernels::contract::Loops;
use crate::shape::TensorType;

/// An op, and its form for operands of some types.
pub(crate) struct Computation {
    pub(crate) op: Op,
    pub(crate) form: Form,
}

impl Computation {
    /// The name of the op.
    pub(crate) fn name(&self) -> &'static str {
        self.op.name()
    }

    /// Whether each number of the result is a sum of products.
    pub(crate) fn sums_products(&self) -> bool {
        match self.form {
            Form::Contract(_) => true,
            #[cfg(feature = "nets")]
            Form::Convolve(_) => true,
            _ => false,
        }
    }

    /// Independent pieces of equal size, in row-major order, of all results.
    pub(crate) fn blocks(&self, operands: &[TensorType], results: &[TensorType]) -> usize {
        let elements = results.iter().map(|ty| ty.shape.elements()).max().unwrap_or(0);
        let rows = || results.first().map_or(1, |ty| ty.shape.outermost().1);
        if elements == 0 {
            return 0;
        }
        match (&self.form, operands) {
            (Form::Map(_), _) => elements,
            (Form::View(map), [x]) if map.reshapes(x.shape, results[0].shape) => elements,
            (Form::View(_) | Form::Contract(_), _) => rows(),
            (Form::Reduce(r), [x]) => x.shape.split_at(r.axis, r.count).0,
            #[cfg(feature = "nets")]
            (Form::Convolve(convolution), [_, second]) => convolution.blocks(second.shape, results[0].shape),
            (Form::Indexed(indexed), _) => indexed.blocks(operands),
            (Form::Opaque(opaque), _) => opaque.blocks,
            _ => 1,
        }
    }

    /// Whether a block reads of operand `i` only the block in the same place.
    pub(crate) fn chunked(&self, i: usize, operands: &[TensorType], results: &[TensorType]) -> bool {
        match (&self.form, operands, results) {
            (Form::Map(_) | Form::Reduce(_), ..) => true,
            (Form::View(map), [x], [y]) => {
                map.reshapes(x.shape, y.shape) || map.stays_in_rows(y.shape, x.shape)
            }
            (Form::Contract(names), [_, _], [y]) => {
                let own = if i == 0 { &names.lhs } else { &names.rhs };
                let label = names.out.get(y.shape.outermost().0);
                let first = own.get(operands[i].shape.outermost().0);
                label.is_some() && label == first
            }
            #[cfg(feature = "nets")]
            (Form::Convolve(convolution), ..) => i == 0 && !convolution.sums_examples(),
            (Form::Indexed(indexed), ..) => indexed.chunked(i, operands),
            (Form::Opaque(opaque), ..) => one_block(opaque.chunked, i),
            _ => false,
        }
    }

    /// Whether no data can make it fail.
    pub(crate) fn infallible(&self) -> bool {
        match &self.form {
            Form::Indexed(indexed) => matches!(indexed, Indexed::AddPart(_) | Indexed::SetPart(_)),
            Form::Opaque(opaque) => opaque.infallible,
            _ => true,
        }
    }

    /// How much work all blocks are, in units of about one element moved and computed.
    pub(crate) fn work(&self, operands: &[TensorType], results: &[TensorType]) -> usize {
        /// Multiplications that a matrix product does in the time of one unit.
        const PRODUCTS: usize = 32;
        /// Numbers that one reads in that time.
        const READS: usize = 4;
        let largest = || operands.iter().chain(results).map(|ty| ty.shape.elements()).max().unwrap_or(0);
        match (&self.form, operands) {
            (Form::Contract(names), [lhs, rhs]) => {
                let size = |name| names.size(name, lhs.shape, rhs.shape).unwrap_or(1);
                let products = names.names().map(size).fold(1, usize::saturating_mul);
                // A thin product waits for the numbers that it reads.
                (products / PRODUCTS).max(largest() / READS)
            }
            #[cfg(feature = "nets")]
            (Form::Convolve(convolution), [first, second]) => {
                (convolution.products(first.shape, second.shape) / PRODUCTS).max(largest())
            }
            (Form::Indexed(Indexed::Gather { .. }), _) => results.first().map_or(0, |r| r.shape.elements()),
            (Form::Opaque(Opaque { work: Some(work), .. }), _) => *work,
            _ => largest(),
        }
    }

    /// Whether it can read operands with these strides, with the bits that it gives for row-major ones.
    pub(crate) fn strided(&self, operands: &[TensorType], strides: &[Option<Box<Strides>>]) -> bool {
        let (Form::Contract(names), [lhs, rhs]) = (&self.form, operands) else { return false };
        let plain = loops(names, [lhs, rhs], None, None);
        plain.same_bits(&loops(names, [lhs, rhs], Some(strides), None))
    }

    /// Whether it can add to what its result holds, times β: of one float result, and infallible.
    pub(crate) fn accumulates(&self) -> bool {
        matches!(&self.form, Form::Contract(_) | Form::Reduce(Reduction { monoid: Monoid::Sum, .. }))
    }

    /// Whether it can multiply what it adds by α too.
    pub(crate) fn scales(&self) -> bool {
        matches!(&self.form, Form::Contract(_))
    }

    /// The operand, of the same type, as which result 0 begins before a part of it is written or added to: its memory can
    /// be the result's. It is chunked, if there are several blocks.
    pub(crate) fn alias(&self) -> Option<usize> {
        matches!(&self.form, Form::Indexed(indexed) if !matches!(indexed, Indexed::Gather { .. }))
            .then_some(0)
    }

    /// The body, if it is computed element by element.
    pub(crate) fn body(&self) -> Option<&Body> {
        if let Form::Map(body) = &self.form { Some(body) } else { None }
    }

    /// Whether it is this primitive on its operands in order, and no more.
    pub(crate) fn is(&self, primitive: Primitive) -> bool {
        self.body().and_then(Body::single) == Some(primitive)
    }

    /// Whether a result may lie where an operand of as many bytes does.
    pub(crate) fn in_place(&self) -> bool {
        self.body().is_some_and(Body::in_place)
    }
}

/// The loops of a contraction of operands of these types and strides, or of so many rows of its result.
pub(crate) fn loops(
    names: &Contraction,
    types: [&TensorType; 2],
    strides: Option<&[Option<Box<Strides>>]>,
    rows: Option<usize>,
) -> Loops {
    let of = |i: usize| {
        let given = strides.and_then(|s| s.get(i)).and_then(|s| s.as_deref());
        given.copied().unwrap_or_else(|| types[i].shape.strides().map(|s| s as usize))
    };
    Loops::of(
        [&names.lhs, &names.rhs, &names.out],
        types.map(|ty| ty.shape),
        [of(0), of(1)],
        names.gates,
        rows,
    )
}

/// The computations of a graph, each body once.
#[derive(Default)]
pub(crate) struct Computations {
    maps: HashMap<(&'static str, Body), Arc<Computation>, BuildHasherDefault<ValueHasher>>,
    last: Option<(List<TensorType>, Arc<Computation>)>,
}

impl Computations {
    /// That of an op on operands of these types; neighbours mostly have the same. An error where its form does not fit
    /// the results.
    pub(crate) fn of(
        &mut self,
        op: &Op,
        operands: &[TensorType],
        results: &[TensorType],
    ) -> Result<Arc<Computation>, ErrorKind> {
        if let Some((types, known)) = &self.last
            && **types == *operands
            && known.op == *op
        {
            return Ok(known.clone());
        }
        let kernel = op.kernel().ok_or_else(|| ErrorKind::Malformed(format!("{op:?} has no numbers")))?;
        let form = kernel.form(operands);
        form.check(operands, results)?;
        let new = |form| Arc::new(Computation { op: op.clone(), form });
        let computation = match form {
            Form::Missing(kind) => return Err(kind),
            Form::Map(body) => match self.maps.entry((op.name(), body)) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(free) => {
                    let form = Form::Map(free.key().1.clone());
                    free.insert(new(form)).clone()
                }
            },
            form => new(form),
        };
        self.last = Some((operands.iter().copied().collect(), computation.clone()));
        Ok(computation)
    }
}
