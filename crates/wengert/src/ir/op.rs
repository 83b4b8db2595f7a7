//! The op of a row: one of the closed kinds, each with open members.

use std::any::{Any, TypeId};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::attrs::{Attr, Attrs};
use super::kernel::Kernel;
use super::kinds::{Bilinear, Custom, Discrete, Elementwise, ElementwiseOp, Lanes, Linear};
use crate::tensor::Tensor;

/// A row without operands.
#[derive(Clone, Debug)]
pub enum Leaf {
    /// An array bound at each run, by position.
    Input(usize),
    /// A named array of the store, at its value at the start of the run, by position.
    State(usize),
    /// A fixed array.
    Constant(Arc<Tensor>),
    /// An array of one number.
    Fill(f64),
    /// A stand-in for a tangent or an example while a rule is transposed or batched; never live.
    Placeholder,
}

/// A row that steers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// Fails a run in which its predicate differs from the recorded outcome.
    Guard {
        /// The outcome while recording.
        recorded: bool,
    },
}

/// The op of a row: one of the closed kinds. Passes match these, never names.
#[derive(Clone)]
#[allow(missing_docs)] // each variant is documented at its payload
pub enum Op {
    Leaf(Leaf),
    Elementwise(Arc<dyn ElementwiseOp>),
    Discrete(Arc<dyn Discrete>),
    Linear(Arc<dyn Linear>),
    Bilinear(Arc<dyn Bilinear>),
    Custom(Arc<dyn Custom>),
    Control(Control),
}

impl Op {
    /// An op from an elementwise function.
    pub fn elementwise<const N: usize>(f: impl Elementwise<N>) -> Self {
        Self::Elementwise(Arc::new(Lanes(f)))
    }
    /// An op from a discrete one.
    pub fn discrete(op: impl Discrete) -> Self {
        Self::Discrete(Arc::new(op))
    }
    /// An op from a linear one.
    pub fn linear(op: impl Linear) -> Self {
        Self::Linear(Arc::new(op))
    }
    /// An op from a bilinear one.
    pub fn bilinear(op: impl Bilinear) -> Self {
        Self::Bilinear(Arc::new(op))
    }
    /// An op from a custom one.
    pub fn custom(op: impl Custom) -> Self {
        Self::Custom(Arc::new(op))
    }

    /// The numbers of the op; leaves and control rows have none.
    pub fn kernel(&self) -> Option<&dyn Kernel> {
        match self {
            Self::Leaf(_) | Self::Control(_) => None,
            Self::Elementwise(op) => Some(&**op),
            Self::Discrete(op) => Some(&**op),
            Self::Linear(op) => Some(&**op),
            Self::Bilinear(op) => Some(&**op),
            Self::Custom(op) => Some(&**op),
        }
    }

    /// The name under which the op is printed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Leaf(Leaf::Input(_)) => "input",
            Self::Leaf(Leaf::State(_)) => "state",
            Self::Leaf(Leaf::Constant(_)) => "constant",
            Self::Leaf(Leaf::Fill(_)) => "fill",
            Self::Leaf(Leaf::Placeholder) => "placeholder",
            Self::Control(Control::Guard { .. }) => "guard",
            _ => self.kernel().map_or("", |k| k.name()),
        }
    }

    /// The op's plain data.
    pub fn attrs(&self) -> Attrs {
        match self {
            Self::Leaf(Leaf::Input(i) | Leaf::State(i)) => Attrs::new().with("index", Attr::Int(*i as i64)),
            Self::Leaf(Leaf::Fill(v)) => Attrs::new().with("value", Attr::Float(*v)),
            Self::Leaf(Leaf::Constant(_) | Leaf::Placeholder) => Attrs::new(),
            Self::Control(Control::Guard { recorded }) => {
                Attrs::new().with("recorded", Attr::Int(i64::from(*recorded)))
            }
            _ => self.kernel().map_or_else(Attrs::new, |k| k.attrs()),
        }
    }

    /// Whether derivatives flow through operand `i` (if its elements are floats).
    pub fn differentiable_in(&self, i: usize) -> bool {
        match self {
            Self::Leaf(_) | Self::Discrete(_) | Self::Control(_) => false,
            Self::Elementwise(_) | Self::Bilinear(_) => true,
            Self::Linear(op) => op.linear_in(i),
            Self::Custom(op) => op.differentiable_in(i),
        }
    }
}

/// What tells an op of an open kind from others, besides its name: its Rust type and its plain data, or the object
/// itself where its type holds data of which it states none.
#[derive(PartialEq, Eq, Hash)]
enum Identity {
    Data(TypeId, Attrs),
    Object(usize),
}

impl Identity {
    fn of(kernel: &dyn Kernel) -> Self {
        let attrs = kernel.attrs();
        if attrs.is_empty() && size_of_val(kernel) > 0 {
            return Self::Object(std::ptr::from_ref(kernel).addr());
        }
        Self::Data((kernel as &dyn Any).type_id(), attrs)
    }
}

impl PartialEq for Op {
    /// Ops are equal if they are the same object, or of the same Rust type with the same name and plain data
    /// (numbers bit by bit).
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => a == b,
            (Self::Control(a), Self::Control(b)) => a == b,
            _ => match (self.kernel(), other.kernel()) {
                (Some(a), Some(b)) => {
                    std::mem::discriminant(self) == std::mem::discriminant(other)
                        && a.name() == b.name()
                        && (std::ptr::addr_eq(a, b) && size_of_val(a) > 0
                            || Identity::of(a) == Identity::of(b))
                }
                _ => false,
            },
        }
    }
}

impl Eq for Op {}

impl Hash for Op {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Leaf(leaf) => leaf.hash(state),
            Self::Control(control) => control.hash(state),
            _ => {
                if let Some(kernel) = self.kernel() {
                    kernel.name().hash(state);
                    Identity::of(kernel).hash(state);
                }
            }
        }
    }
}

impl PartialEq for Leaf {
    /// Constants are equal if they are one array in memory.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Input(a), Self::Input(b)) | (Self::State(a), Self::State(b)) => a == b,
            (Self::Constant(a), Self::Constant(b)) => Arc::ptr_eq(a, b),
            (Self::Fill(a), Self::Fill(b)) => a.to_bits() == b.to_bits(),
            (Self::Placeholder, Self::Placeholder) => true,
            _ => false,
        }
    }
}

impl Eq for Leaf {}

impl Hash for Leaf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Input(i) | Self::State(i) => i.hash(state),
            Self::Constant(tensor) => Arc::as_ptr(tensor).hash(state),
            Self::Fill(value) => value.to_bits().hash(state),
            Self::Placeholder => {}
        }
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attrs = self.attrs();
        f.write_str(self.name())?;
        if attrs.is_empty() { Ok(()) } else { write!(f, "{attrs}") }
    }
}
