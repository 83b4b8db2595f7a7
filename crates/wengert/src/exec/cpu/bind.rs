//! The arrays that a run is bound to.

use std::sync::Arc;

use ndarray::{ArrayBase, Data, Dimension};

use crate::bind::Bind;
use crate::elements::{Number, Slice};
use crate::error::{Error, ErrorKind, Result};
use crate::exec::memory::Region;
use crate::shape::TensorType;
use crate::tensor::Tensor;

/// What a run's arrays are bound from: one reference to what can be bound, a tuple of up to twelve of them, each with the name of its input
/// before it or without, or a slice of arrays. A slice of numbers is one
/// input.
///
/// ```
/// use wengert::{DType::F64, Program, States};
/// let program = Program::record(&States::new(), |t| {
///     let (x, y) = (t.input(F64, []).named("x"), t.input(F64, []).named("y"));
///     t.outputs((x - y).named("difference"))
/// })?;
/// let (mut workspace, states) = (program.workspace()?, States::new());
/// let results = program.evaluate(&mut workspace, &states, (("y", &1.0), ("x", &3.0)))?;
/// assert_eq!(results.scalar("difference")?, 2.0);
/// # Ok::<(), wengert::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` are no inputs",
    note = "inputs are references in a tuple, `(&x, &labels)`, with names if you like, `((\"x\", &x), (\"labels\", &labels))`; one alone is `&x`; none are `()`"
)]
pub trait Inputs {
    /// How many there are.
    fn count(&self) -> usize;
    /// The one at this position.
    fn get(&self, i: usize) -> Option<&dyn Bind>;
    /// The name of the input that it is meant for, if that was given.
    fn name(&self, i: usize) -> Option<&str> {
        let _ = i;
        None
    }
}

impl Inputs for () {
    fn count(&self) -> usize {
        0
    }
    fn get(&self, _: usize) -> Option<&dyn Bind> {
        None
    }
}
/// One vector.
impl<T: Number> Inputs for &[T] {
    fn count(&self) -> usize {
        1
    }
    fn get(&self, i: usize) -> Option<&dyn Bind> {
        (i == 0).then_some(self as &dyn Bind)
    }
}
macro_rules! several {
    ([$($generics:tt)*] $T:ty) => {
        impl<$($generics)*> Inputs for &[$T] {
            fn count(&self) -> usize {
                self.len()
            }
            fn get(&self, i: usize) -> Option<&dyn Bind> {
                <[$T]>::get(self, i).map(|b| b as &dyn Bind)
            }
        }
    };
}
several!([] Tensor);
several!([T: Number] Vec<T>);
several!([T: Number, S: Data<Elem = T>, D: Dimension] ArrayBase<S, D>);
impl Inputs for &[&dyn Bind] {
    fn count(&self) -> usize {
        self.len()
    }
    fn get(&self, i: usize) -> Option<&dyn Bind> {
        <[&dyn Bind]>::get(self, i).copied()
    }
}
impl Inputs for &[(&str, &dyn Bind)] {
    fn count(&self) -> usize {
        self.len()
    }
    fn get(&self, i: usize) -> Option<&dyn Bind> {
        <[(&str, &dyn Bind)]>::get(self, i).map(|(_, b)| *b)
    }
    fn name(&self, i: usize) -> Option<&str> {
        <[(&str, &dyn Bind)]>::get(self, i).map(|(name, _)| *name)
    }
}
/// One input alone.
impl<B: Bind> Inputs for &B {
    fn count(&self) -> usize {
        1
    }
    fn get(&self, i: usize) -> Option<&dyn Bind> {
        (i == 0).then_some(*self as &dyn Bind)
    }
}

/// One of several inputs: a reference to what is bound, with the input's name before it or without.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no input",
    note = "an input is a reference, `&x`, or one with a name, `(\"x\", &x)`"
)]
pub trait Input {
    /// The name, if it has one.
    fn name(&self) -> Option<&str>;
    /// What is bound.
    fn bound(&self) -> &dyn Bind;
}
impl<B: Bind> Input for &B {
    fn name(&self) -> Option<&str> {
        None
    }
    fn bound(&self) -> &dyn Bind {
        *self
    }
}
impl<B: Bind> Input for (&str, &B) {
    fn name(&self) -> Option<&str> {
        Some(self.0)
    }
    fn bound(&self) -> &dyn Bind {
        self.1
    }
}
macro_rules! tuple_inputs {
    ($($B:ident $i:tt),+) => {
        impl<$($B: Input),+> Inputs for ($($B,)+) {
            fn count(&self) -> usize {
                [$($i),+].len()
            }
            fn get(&self, i: usize) -> Option<&dyn Bind> {
                match i {
                    $($i => Some(self.$i.bound()),)+
                    _ => None,
                }
            }
            fn name(&self, i: usize) -> Option<&str> {
                match i {
                    $($i => self.$i.name(),)+
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
tuple_inputs!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple_inputs!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple_inputs!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple_inputs!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple_inputs!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple_inputs!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);

/// The error of a name that no input has, or that is given twice.
fn stray(names: &[Option<Arc<str>>], inputs: &dyn Inputs) -> Option<Error> {
    let given: Vec<&str> = (0..inputs.count()).filter_map(|i| inputs.name(i)).collect();
    let known: Vec<&str> = names.iter().flatten().map(|name| &**name).collect();
    let what = given.iter().enumerate().find_map(|(i, name)| match name {
        _ if !known.contains(name) => Some(format!("there is no input `{name}`, only {known:?}")),
        _ if given[..i].contains(name) => Some(format!("input `{name}` was bound twice")),
        _ => None,
    });
    what.map(|what| ErrorKind::Input(what).into())
}

/// Which of the things that are bound is input `i` of a program: the one of its name, or the one without a name in its place.
fn bound<'a>(names: &[Option<Arc<str>>], inputs: &'a dyn Inputs, i: usize) -> Option<&'a dyn Bind> {
    let own = names.get(i).and_then(Option::as_deref);
    match inputs.name(i) {
        None => {
            let named = (0..inputs.count()).any(|j| own.is_some() && inputs.name(j) == own);
            if named { None } else { inputs.get(i) }
        }
        here if here == own => inputs.get(i),
        _ => {
            (0..inputs.count()).find(|&j| own.is_some() && inputs.name(j) == own).and_then(|j| inputs.get(j))
        }
    }
}

/// Puts down where the elements of each input are, if all are in their order, without names, and lie as they should.
#[inline]
pub(super) fn bind_in_place(types: &[TensorType], inputs: &dyn Inputs, regions: &mut [Region]) -> bool {
    // What lies as it should is what `Bind` says, which is sealed: anybody can say what inputs are.
    let bytes = |i, ty| if inputs.name(i).is_some() { None } else { inputs.get(i)?.bytes(ty) };
    inputs.count() == types.len()
        && regions
            .iter_mut()
            .zip(types)
            .enumerate()
            .all(|(i, (region, ty))| bytes(i, ty).map(|bytes| *region = Region::of_bytes(bytes)).is_some())
}

/// Puts down where the elements of each input are: in place where they are row-major, packed otherwise.
pub(super) fn bind(
    types: &[TensorType],
    names: &[Option<Arc<str>>],
    packed: &mut [Option<Tensor>],
    inputs: &dyn Inputs,
    regions: &mut [Region],
) -> Result<()> {
    if inputs.count() != types.len() {
        let what = format!("the program has {} inputs, {} were bound", types.len(), inputs.count());
        return Err(ErrorKind::Input(what).into());
    }
    for (i, (packed, &ty)) in packed.iter_mut().zip(types).enumerate() {
        let misfit = |found: String| {
            let name = names.get(i).and_then(Option::as_deref);
            let name = name.map_or_else(|| i.to_string(), |name| format!("`{name}`"));
            Error::from(ErrorKind::Input(format!("input {name} is {ty}, {found} was bound")))
        };
        let input = bound(names, inputs, i)
            .ok_or_else(|| stray(names, inputs).unwrap_or_else(|| misfit("nothing".into())))?;
        let shape = input.shape().transpose()?;
        if input.dtype() != ty.dtype || shape.is_some_and(|s| s != ty.shape) {
            // Of as many axes: a batch of another size, say.
            let sizes = input.dtype() == ty.dtype && shape.is_some_and(|s| s.rank() == ty.shape.rank());
            let hint =
                "; a program is recorded for its sizes: record another one, which may share the states";
            let shape = shape.map_or_else(String::new, |s| s.to_string());
            let found = misfit(format!("{}{shape}", input.dtype()));
            return Err(if sizes { found.with_note(hint.trim_start_matches("; ")) } else { found });
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
        regions[i] = Region::shared(slice);
    }
    Ok(())
}
