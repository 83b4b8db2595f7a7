//! The plain data of an op: what printing, equality, hashing and loading derive from.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};

use smallvec::SmallVec;

use crate::dtype::DType;
use crate::error::ErrorKind;

/// One attribute.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Attr {
    /// A whole number.
    Int(i64),
    /// A number; equality is that of its bits.
    Float(f64),
    /// A list of whole numbers: axes, sizes.
    Ints(Vec<i64>),
    /// A word.
    Text(String),
    /// An element type.
    DType(DType),
}

impl PartialEq for Attr {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a == b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::Ints(a), Self::Ints(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::DType(a), Self::DType(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Attr {}

impl Hash for Attr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Self::Int(v) => v.hash(state),
            Self::Float(v) => v.to_bits().hash(state),
            Self::Ints(v) => v.hash(state),
            Self::Text(v) => v.hash(state),
            Self::DType(v) => v.hash(state),
        }
    }
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v:?}"),
            Self::Ints(v) => write!(f, "{v:?}"),
            Self::Text(v) => write!(f, "{v:?}"),
            Self::DType(v) => write!(f, "{v}"),
        }
    }
}

/// The attributes of an op, in the order in which it lists them.
///
/// ```
/// use wengert::ir::{Attr, Attrs};
/// let attrs = Attrs::new().with("axis", Attr::Int(1)).with("count", Attr::Int(2));
/// assert_eq!(attrs.to_string(), "{axis: 1, count: 2}");
/// assert_eq!(attrs.usize("axis")?, 1);
/// assert!(attrs.usize("size").is_err());
/// # Ok::<(), wengert::ErrorKind>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attrs(SmallVec<[(Cow<'static, str>, Attr); 2]>);

impl Attrs {
    /// No attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// These attributes and one more.
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: Attr) -> Self {
        self.0.push((name.into(), value));
        self
    }

    /// These attributes and one more, a list of sizes or axes.
    pub fn with_sizes(self, name: &'static str, sizes: &[usize]) -> Self {
        self.with(name, Attr::Ints(sizes.iter().map(|&s| s as i64).collect()))
    }

    /// These attributes and one more, yes or no.
    pub fn with_flag(self, name: &'static str, flag: bool) -> Self {
        self.with(name, Attr::Int(i64::from(flag)))
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Attr)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of the first of these that another list has not, or has with another value.
    pub(crate) fn unlike(&self, other: &Self) -> Option<&str> {
        self.iter().find(|attr| !other.iter().any(|o| o == *attr)).map(|(name, _)| name)
    }

    fn get<T>(&self, name: &str, read: impl Fn(&Attr) -> Option<T>) -> Result<T, ErrorKind> {
        self.0.iter().find(|(n, _)| n == name).and_then(|(_, value)| read(value)).ok_or_else(|| {
            ErrorKind::Malformed(format!("the attribute {name} is missing or of another type in {self}"))
        })
    }

    /// A size or axis.
    pub fn usize(&self, name: &str) -> Result<usize, ErrorKind> {
        self.get(name, |a| if let Attr::Int(v) = a { usize::try_from(*v).ok() } else { None })
    }

    /// Yes or no, kept as the numbers 1 and 0.
    pub fn flag(&self, name: &str) -> Result<bool, ErrorKind> {
        match self.usize(name)? {
            known @ 0..2 => Ok(known == 1),
            other => Err(ErrorKind::Malformed(format!("{name} is 0 or 1, not {other}"))),
        }
    }

    /// A size or axis for each of two axes.
    #[cfg(feature = "nets")]
    pub(crate) fn pair(&self, name: &str) -> Result<[usize; 2], ErrorKind> {
        let pair: Result<[usize; 2], _> = self.sizes(name)?.try_into();
        pair.map_err(|_| ErrorKind::Malformed(format!("{name} is not one number for each of two axes")))
    }

    /// A number.
    pub fn f64(&self, name: &str) -> Result<f64, ErrorKind> {
        self.get(name, |a| if let Attr::Float(v) = a { Some(*v) } else { None })
    }

    /// A list of whole numbers.
    pub fn ints(&self, name: &str) -> Result<Vec<i64>, ErrorKind> {
        self.get(name, |a| if let Attr::Ints(v) = a { Some(v.clone()) } else { None })
    }

    /// A list of sizes or axes.
    pub fn sizes(&self, name: &str) -> Result<Vec<usize>, ErrorKind> {
        self.get(name, |a| match a {
            Attr::Ints(v) => v.iter().map(|&s| usize::try_from(s).ok()).collect(),
            _ => None,
        })
    }

    /// A word.
    pub fn text(&self, name: &str) -> Result<String, ErrorKind> {
        self.get(name, |a| if let Attr::Text(v) = a { Some(v.clone()) } else { None })
    }

    /// An element type.
    pub fn dtype(&self, name: &str) -> Result<DType, ErrorKind> {
        self.get(name, |a| if let Attr::DType(v) = a { Some(*v) } else { None })
    }
}

impl fmt::Display for Attrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.0.iter().enumerate() {
            write!(f, "{}{name}: {value}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("}")
    }
}
