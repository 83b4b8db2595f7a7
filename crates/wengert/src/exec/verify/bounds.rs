//! V4, V8 and V9: parts of arrays, and parts of sums.

use super::super::cpu::Strides;
use super::super::folds::{Fold, segment_end, segments};
use super::super::plan::{Constant, Pass, Place, Slot, Stage, Step, View, WORD};
use super::{At, Check, Verifier, broken};
use crate::shape::TensorType;

impl Verifier<'_> {
    /// V4 and V8: that a view lies within its array, and the array in its memory.
    pub(super) fn inside(
        &self,
        at: At,
        (stage, pass): (&Stage, &Pass),
        view: View,
        strides: Option<&Strides>,
    ) -> Check {
        let plan = self.plan;
        let Slot { place, ty, len, root } = self.slot(view.slot, at)?;
        let whole = self.slot(*root, at)?;
        let fail = |what| Err(broken("V4", at.row, what));
        if *place != whole.place || ty.dtype != whole.ty.dtype || *len != whole.ty.shape.elements() {
            return fail("a name of another array");
        }
        let elements = ty.shape.elements();
        match (view.unit, strides) {
            (Some(unit), None) if unit.get() * stage.units == *len && elements == *len => {}
            (None, None) if elements == *len => {}
            (None, Some(strides)) => {
                let steps = ty
                    .shape
                    .iter()
                    .zip(strides)
                    .map(|(size, stride)| size.saturating_sub(1).saturating_mul(*stride));
                if elements > 0 && steps.fold(0, usize::saturating_add) >= *len {
                    return fail("strides that leave their array");
                }
            }
            _ => return fail("parts that are not those of the array"),
        }
        let bytes = len * ty.dtype.bytes();
        let held = |units: usize| bytes / stage.units * units;
        let bound = |found: TensorType| {
            let fits = found.dtype == ty.dtype && found.shape.elements() == *len;
            if fits { Ok(()) } else { Err(broken("V8", at.row, "another length than that of what is bound")) }
        };
        let fits = match *place {
            Place::Arena(offset) => offset.is_multiple_of(WORD) && offset + bytes <= plan.arena,
            Place::Local { offset, tile } => {
                let units = if tile { pass.tile } else { stage.units.div_ceil(stage.panels) };
                let part = if view.unit.is_some() { held(units.min(stage.units)) } else { bytes };
                offset.is_multiple_of(WORD) && offset + part <= plan.local
            }
            Place::Input(i) => return plan.inputs.get(i).map_or(fail("no such input"), |ty| bound(*ty)),
            Place::State(k) => return plan.states.get(k).map_or(fail("no such state"), |s| bound(s.ty)),
            Place::Constant(c) => match plan.constants.get(c) {
                Some(Constant::Array(tensor)) => return bound(tensor.ty()),
                _ => return fail("no such constant"),
            },
            Place::Fill(c) => match plan.constants.get(c) {
                Some(Constant::Fill { dtype, len: there, .. }) => {
                    *dtype == ty.dtype
                        && view.unit.map_or(*len, |u| u.get() * pass.tile.min(stage.units)) <= *there
                }
                _ => false,
            },
        };
        if fits { Ok(()) } else { fail("an array that leaves its memory") }
    }

    pub(super) fn fold(&mut self, at: At, (stage, pass): (&Stage, &Pass), step: &Step, fold: &Fold) -> Check {
        let fail = |what| Err(broken("V9", at.row, what));
        let [view] = step.results.as_slice() else { return fail("a fold of other results than one") };
        let (parts, slot) = (segments(fold.slabs), self.slot(view.slot, at)?);
        if slot.len != parts * fold.ty.shape.elements() || slot.ty.dtype != fold.ty.dtype {
            return fail("parts that are not those of the fold");
        }
        let root = slot.root;
        if stage.units > 1 {
            let whole = |at: usize| segment_end(fold.slabs, at);
            let chunks =
                pass.tile.is_multiple_of(fold.chunk) || pass.tile >= whole(0).max(fold.slabs.div_ceil(parts));
            if stage.units != fold.slabs || !pass.folds || !parts.is_multiple_of(stage.panels) || !chunks {
                return fail("a part that two panels or tiles make");
            }
        }
        self.parts.insert(root, parts);
        Ok(())
    }

    pub(super) fn join(&mut self, at: At, step: &Step) -> Check {
        let fail = |what| Err(broken("V9", at.row, what));
        let ([from], [to]) = (step.operands.as_slice(), step.results.as_slice()) else {
            return fail("a sum of other parts than those of one fold");
        };
        let Slot { len: all, root, .. } = *self.slot(from.slot, at)?;
        let len = self.slot(to.slot, at)?.len;
        match self.parts.remove(&root) {
            Some(parts) if parts * len == all && from.unit.is_none() => Ok(()),
            _ => fail("parts that are not added up once, all of them"),
        }
    }
}
