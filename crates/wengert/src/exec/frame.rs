//! What plans of both sorts have.

use std::sync::{Arc, OnceLock};

use super::graph::{Constant, Home};
use super::table::BufferId;
use crate::error::Result;
use crate::ir::UsedState;
use crate::kernels::Isa;
use crate::shape::TensorType;
use crate::tensor::Tensor;

/// A value that outlives a run: its place in the arena.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveOut {
    pub(super) buffer: Option<BufferId>,
    pub(super) offset: usize,
    pub(super) ty: TensorType,
}

/// The region of what functions of small arrays have of their own; the arena is the one before.
pub(super) const POOL: usize = 1;

/// What all plans have: what is bound, what outlives a run, and the memory.
pub(crate) struct Frame {
    pub(super) isa: Isa,
    pub(super) constants: Vec<Constant>,
    /// The arrays of the constants, made with the first workspace.
    arrays: OnceLock<Vec<Arc<Tensor>>>,
    /// Types of the inputs, by position.
    pub(super) inputs: Vec<TensorType>,
    /// The states read or written.
    pub(super) states: Vec<UsedState>,
    /// Those that calls write in place.
    pub(super) donated: Vec<usize>,
    /// The next values of the others that change, copied at the end.
    pub(super) commits: Vec<(usize, LiveOut)>,
    pub(super) outputs: Vec<LiveOut>,
    /// Bytes of the arena. Behind them each thread has `local` bytes and `scratch` bytes of its own.
    pub(super) arena: usize,
    pub(super) local: usize,
    pub(super) scratch: usize,
}

impl Frame {
    /// A frame of these inputs and states.
    pub(super) fn new(isa: Isa, inputs: &[TensorType], states: &[UsedState]) -> Self {
        Self {
            isa,
            constants: Vec::new(),
            arrays: OnceLock::new(),
            inputs: inputs.to_vec(),
            states: states.to_vec(),
            donated: Vec::new(),
            commits: Vec::new(),
            outputs: Vec::new(),
            arena: 0,
            local: 0,
            scratch: 0,
        }
    }

    /// Of the regions of a run, that of what has no place in the arena. The arena is the first; the pool of what functions of small arrays
    /// have of their own, constants, inputs and states follow.
    pub(super) fn region(&self, home: Home) -> usize {
        let constants = POOL + 1;
        match home {
            Home::Constant(c) | Home::Fill(c) => constants + c,
            Home::Input(i) => constants + self.constants.len() + i,
            Home::State(k) => constants + self.constants.len() + self.inputs.len() + k,
        }
    }

    /// What has such a region; `None` of the arena and the pool.
    pub(super) fn home(&self, region: usize) -> Option<Home> {
        let region = region.checked_sub(POOL + 1)?;
        let inputs = self.constants.len();
        let states = inputs + self.inputs.len();
        Some(match region {
            c if c < inputs => Home::Constant(c),
            i if i < states => Home::Input(i - inputs),
            k => Home::State(k - states),
        })
    }

    /// How many regions a run has.
    #[inline]
    pub(super) fn regions(&self) -> usize {
        POOL + 1 + self.constants.len() + self.inputs.len() + self.states.len()
    }

    /// Makes the arrays of the constants, if they are not there yet.
    pub(super) fn arrays(&self) -> Result<&[Arc<Tensor>]> {
        if self.arrays.get().is_none() {
            let make = |c: &Constant| match c {
                Constant::Array(tensor) => Ok(tensor.clone()),
                Constant::Fill { value, dtype, len } => {
                    let shape = crate::shape::Shape::new(&[*len])?;
                    Tensor::filled(TensorType::new(*dtype, shape), *value).map(Arc::new)
                }
            };
            let arrays = self.constants.iter().map(make).collect::<Result<_>>()?;
            // Another thread may have been faster with the same arrays.
            let _ = self.arrays.set(arrays);
        }
        Ok(self.arrays.get().map_or(&[], Vec::as_slice))
    }
}
