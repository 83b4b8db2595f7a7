//! The arrays that a run is bound to.

use crate::elements::Slice;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::memory::Region;
use crate::shape::TensorType;
use crate::tensor::{Bind, Tensor};

/// What a run's arrays are bound from: a tuple of references to things that can be bound, or a slice
/// of such things.
pub trait Inputs {
    /// How many there are.
    fn count(&self) -> usize;
    /// The one at this position.
    fn get(&self, i: usize) -> Option<&dyn Bind>;
}

impl Inputs for () {
    fn count(&self) -> usize {
        0
    }
    fn get(&self, _: usize) -> Option<&dyn Bind> {
        None
    }
}
impl<B: Bind> Inputs for &[B] {
    fn count(&self) -> usize {
        self.len()
    }
    fn get(&self, i: usize) -> Option<&dyn Bind> {
        <[B]>::get(self, i).map(|b| b as &dyn Bind)
    }
}
impl Inputs for &[&dyn Bind] {
    fn count(&self) -> usize {
        self.len()
    }
    fn get(&self, i: usize) -> Option<&dyn Bind> {
        <[&dyn Bind]>::get(self, i).copied()
    }
}
macro_rules! tuple_inputs {
    ($($B:ident $i:tt),+) => {
        impl<$($B: Bind),+> Inputs for ($(&$B,)+) {
            fn count(&self) -> usize {
                [$($i),+].len()
            }
            fn get(&self, i: usize) -> Option<&dyn Bind> {
                match i {
                    $($i => Some(self.$i),)+
                    _ => None,
                }
            }
        }
    };
}
tuple_inputs!(A 0);
tuple_inputs!(A 0, B 1);
tuple_inputs!(A 0, B 1, C 2);
tuple_inputs!(A 0, B 1, C 2, D 3);
tuple_inputs!(A 0, B 1, C 2, D 3, E 4);
tuple_inputs!(A 0, B 1, C 2, D 3, E 4, F 5);

/// Lists where the elements of each input are: in place where they are row-major, packed otherwise.
pub(super) fn bind(
    types: &[TensorType],
    packed: &mut [Option<Tensor>],
    inputs: &dyn Inputs,
    regions: &mut Vec<Region>,
) -> Result<()> {
    if inputs.count() != types.len() {
        let what = format!("the program has {} inputs, {} were bound", types.len(), inputs.count());
        return Err(ErrorKind::Input(what).into());
    }
    for (i, (packed, &ty)) in packed.iter_mut().zip(types).enumerate() {
        let misfit =
            |found: String| Error::from(ErrorKind::Input(format!("input {i} is {ty}, {found} was bound")));
        let input = inputs.get(i).ok_or_else(|| misfit("nothing".into()))?;
        let shape = input.shape().transpose()?;
        if input.dtype() != ty.dtype || shape.is_some_and(|s| s != ty.shape) {
            let shape = shape.map_or_else(String::new, |s| s.to_string());
            return Err(misfit(format!("{}{shape}", input.dtype())));
        }
        let slice = match input.contiguous() {
            Some(slice) => slice,
            None => {
                let copy = match packed {
                    Some(copy) => copy,
                    None => packed.insert(Tensor::filled(ty, 0.0)?),
                };
                if !input.pack(copy.data_mut()) {
                    return Err(misfit("an array that says otherwise".into()));
                }
                copy.data()
            }
        };
        if slice.len() != ty.shape.elements() || slice.dtype() != ty.dtype {
            return Err(misfit(format!("a slice of {} {}", slice.len(), slice.dtype())));
        }
        if matches!(slice, Slice::Bool(bytes) if bytes.iter().any(|&b| b > 1)) {
            return Err(misfit("a truth value other than 0 and 1".into()));
        }
        regions.push(Region::shared(slice));
    }
    Ok(())
}
