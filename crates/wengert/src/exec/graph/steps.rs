//! Maps of small arrays, operation by operation: what is called for each is then a function that micro-ops apply.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Computation;
use crate::dtype::DType;
use crate::ir::{Body, Form, Scalar};

/// Elements of a map whose operations are computed one by one: what is called for each is soon done, and neither cut nor fused.
const FEW: usize = 256;

/// A map operation by operation: what each computes, the type of its result, and what it reads; and which of them are results.
pub(super) struct Steps {
    pub(super) steps: Vec<(Arc<Computation>, DType, SmallVec<[Scalar; 3]>)>,
    pub(super) results: SmallVec<[u16; 1]>,
}

/// Those of maps of several operations, by where the computation lies, which stays there.
#[derive(Default)]
pub(super) struct AllSteps {
    known: HashMap<usize, (Arc<Computation>, Option<Rc<Steps>>)>,
    computations: HashMap<(&'static str, Body), Arc<Computation>>,
}

impl AllSteps {
    /// Those of a map of so many elements, if its operations are computed one by one.
    pub(super) fn of(&mut self, what: &Arc<Computation>, elements: usize) -> Option<Rc<Steps>> {
        let body = what.body().filter(|body| elements <= FEW && body.instructions().len() > 1)?;
        let key = Arc::as_ptr(what).addr();
        if let Some((_, known)) = self.known.get(&key) {
            return known.clone();
        }
        let steps = body.steps().map(|steps| {
            let steps = steps.into_iter().zip(body.instructions()).map(|((body, read), instruction)| {
                let new = |body: &Body| {
                    Arc::new(Computation { op: what.op.clone(), form: Form::Map(body.clone()) })
                };
                let what = match self.computations.entry((what.name(), body)) {
                    Entry::Occupied(known) => known.get().clone(),
                    Entry::Vacant(free) => {
                        let new = new(&free.key().1);
                        free.insert(new).clone()
                    }
                };
                (what, instruction.dtype, read)
            });
            let position = |y: &Scalar| if let Scalar::Instruction(i) = y { *i } else { u16::MAX };
            Rc::new(Steps { steps: steps.collect(), results: body.results().iter().map(position).collect() })
        });
        self.known.insert(key, (what.clone(), steps.clone()));
        steps
    }
}
