//! A flat vector of parameters as the arrays that it stands for.

use std::ops::Index;

use crate::error::{ErrorKind, Result, ShapeError};
use crate::ir::Var;
use crate::shape::{Shape, TensorType};
use crate::sizes::IntoShape;

/// Names and shapes of arrays that lie one behind the other in a vector: pairs in a tuple (of up to eight), an array, or a vector.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no layout of a vector",
    note = "layouts are pairs of a name and a shape: `((\"mu\", []), (\"theta\", [8]))`"
)]
pub trait Layout {
    /// Each array's name and shape, in order.
    fn parts(self) -> Vec<(String, Result<Shape, ErrorKind>)>;
}

impl<N: Into<String>, S: IntoShape> Layout for Vec<(N, S)> {
    fn parts(self) -> Vec<(String, Result<Shape, ErrorKind>)> {
        self.into_iter().map(|(name, shape)| (name.into(), shape.into_shape())).collect()
    }
}
impl<N: Into<String>, S: IntoShape, const COUNT: usize> Layout for [(N, S); COUNT] {
    fn parts(self) -> Vec<(String, Result<Shape, ErrorKind>)> {
        Vec::from(self).parts()
    }
}
macro_rules! layouts {
    ($($S:ident $part:ident),+) => {
        impl<$($S: IntoShape),+> Layout for ($((&str, $S),)+) {
            fn parts(self) -> Vec<(String, Result<Shape, ErrorKind>)> {
                let ($($part,)+) = self;
                vec![$(($part.0.into(), $part.1.into_shape())),+]
            }
        }
    };
}
layouts!(A a);
layouts!(A a, B b);
layouts!(A a, B b, C c);
layouts!(A a, B b, C c, D d);
layouts!(A a, B b, C c, D d, E e);
layouts!(A a, B b, C c, D d, E e, F f);
layouts!(A a, B b, C c, D d, E e, F f, G g);
layouts!(A a, B b, C c, D d, E e, F f, G g, H h);

/// The arrays that a vector was [unpacked](Var::unpack) into, by name.
#[derive(Clone, Debug)]
pub struct Unpacked<'t> {
    parts: Vec<(String, Var<'t>)>,
    missing: Var<'t>,
}

impl<'t> Unpacked<'t> {
    /// The array of this name; `None` if there is none.
    pub fn get(&self, name: &str) -> Option<Var<'t>> {
        self.parts.iter().find(|(n, _)| n == name).map(|(_, part)| *part)
    }
    /// Names and arrays, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Var<'t>)> {
        self.parts.iter().map(|(name, part)| (&**name, *part))
    }
}

impl<'t> Index<&str> for Unpacked<'t> {
    type Output = Var<'t>;
    /// The array of this name; a poisoned variable, and an error of the recording, if there is none.
    #[track_caller]
    fn index(&self, name: &str) -> &Var<'t> {
        match self.parts.iter().find(|(n, _)| n == name) {
            Some((_, part)) => part,
            None => {
                let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
                let what = format!("the vector has the parts {}, no `{name}`", names.join(", "));
                self.missing.recorder().fail(ErrorKind::Argument(what), "unpack");
                &self.missing
            }
        }
    }
}

impl<'t> Var<'t> {
    /// This vector as the arrays that lie in it one behind the other, by name: for optimisers and samplers that know one vector of
    /// parameters. An error where they are not as long as the vector together, or where two have one name.
    ///
    /// *Shape*: those of the layout. *Derivative*: 1 in the part, else 0.
    ///
    /// ```
    /// use wengert::Function;
    /// let f = Function::new(5, |x| {
    ///     let p = x.unpack((("mu", []), ("weights", [2, 2])));
    ///     p["mu"] * p["weights"].sum(())
    /// })?;
    /// assert_eq!(f.value(&[2.0, 1.0, 1.0, 1.0, 1.0])?, 8.0);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn unpack(self, layout: impl Layout) -> Unpacked<'t> {
        let named = layout.parts();
        let t = self.recorder();
        let mut shapes = Vec::with_capacity(named.len());
        for (i, (name, shape)) in named.iter().enumerate() {
            if named[..i].iter().any(|(n, _)| n == name) {
                t.fail(ErrorKind::Argument(format!("two parts are named `{name}`")), "unpack");
            }
            if let Err(kind) = shape {
                t.fail(kind.clone(), "unpack");
            }
            shapes.push(shape.clone().unwrap_or(Shape::SCALAR));
        }
        let sizes: Vec<usize> = shapes.iter().map(Shape::elements).collect();
        let fits =
            self.rank() == 1 && sizes.iter().fold(0, |all: usize, s| all.saturating_add(*s)) == self.dim(0);
        if !fits {
            let what = format!("parts of {sizes:?} elements do not fill {}", self.ty());
            t.fail(ShapeError::Other(what), "unpack");
        }
        let flat = if fits { self.split(sizes, 0) } else { Vec::new() };
        let mut parts = Vec::with_capacity(named.len());
        for (i, ((name, _), shape)) in named.into_iter().zip(shapes).enumerate() {
            let part = match flat.get(i) {
                Some(part) => t.operation("unpack", || part.reshape(shape)),
                None => t.poisoned(TensorType::new(self.dtype(), shape)),
            };
            parts.push((name, part));
        }
        let missing = t.poisoned(TensorType::new(self.dtype(), Shape::SCALAR));
        Unpacked { parts, missing }
    }
}
