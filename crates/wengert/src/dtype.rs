//! Element types, and the list that all code about them is made from.

use std::fmt;

/// The type of a tensor's elements.
///
/// Only [`DType::F32`] and [`DType::F64`] carry derivatives; the integer types index, label
/// and count, and [`DType::Bool`] chooses.
///
/// ```
/// use wengert::DType;
/// assert!(DType::F32.is_float() && !DType::U8.is_float());
/// assert_eq!(DType::F64.bytes(), 8);
/// assert_eq!(DType::U32.to_string(), "u32");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DType {
    /// 32-bit IEEE 754 floating point.
    F32,
    /// 64-bit IEEE 754 floating point.
    F64,
    /// Unsigned bytes: pixels, small labels.
    U8,
    /// Unsigned 32-bit integers: labels, indices.
    U32,
    /// Signed 64-bit integers: indices, counters, keys of random streams.
    I64,
    /// Truth values, one byte each, 0 or 1.
    Bool,
}

impl DType {
    /// Every element type, in declaration order.
    pub const ALL: [DType; 6] = [Self::F32, Self::F64, Self::U8, Self::U32, Self::I64, Self::Bool];

    /// The types whose values have derivatives.
    pub const FLOATS: &'static [DType] = &[Self::F32, Self::F64];

    /// The integer types (`Bool` is not one).
    pub const INTEGERS: &'static [DType] = &[Self::U8, Self::U32, Self::I64];

    /// Whether values of this type have derivatives.
    pub fn is_float(self) -> bool {
        Self::FLOATS.contains(&self)
    }

    /// Whether this is one of the integer types (`Bool` is not).
    pub fn is_integer(self) -> bool {
        Self::INTEGERS.contains(&self)
    }

    /// What is stored for a number, as a number: 0 or 1 for truth values.
    pub(crate) fn stored(self, value: f64) -> f64 {
        if self == Self::Bool { f64::from(u8::from(value != 0.0)) } else { value }
    }

    /// Whether a number can be stored without changing, but for the rounding of floats.
    pub(crate) fn holds(self, value: f64) -> bool {
        let whole = value.fract() == 0.0;
        match self {
            Self::F32 => (value as f32).is_finite() || !value.is_finite(),
            Self::F64 => true,
            Self::U8 => whole && (0.0..=255.0).contains(&value),
            Self::U32 => whole && (0.0..=f64::from(u32::MAX)).contains(&value),
            Self::I64 => whole && value.abs() <= 2f64.powi(53),
            Self::Bool => value == 0.0 || value == 1.0,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// All element types, each with the Rust type that stores its elements and its name: what differs by type is made from this
/// list, by the macro that is named, and from that of the floats below.
macro_rules! dtypes {
    ([$($make:tt)+] $($rest:tt)*) => {
        $($make)+! { [F32 f32 "f32", F64 f64 "f64", U8 u8 "u8", U32 u32 "u32", I64 i64 "i64", Bool u8 "bool"] $($rest)* }
    };
}

/// The element types that have derivatives.
macro_rules! floats {
    ([$($make:tt)+] $($rest:tt)*) => {
        $($make)+! { [(F32) f32, (F64) f64] $($rest)* }
    };
}

/// The Rust types that store integers and truth values, and the element types that each stores.
macro_rules! integers {
    ([$($make:tt)+] $($rest:tt)*) => {
        $($make)+! { [(U8 | Bool) u8, (U32) u32, (I64) i64] $($rest)* }
    };
}

/// The Rust types that store elements, and the element types that each stores: code is made once for each of them.
macro_rules! natives {
    ([$($make:tt)+] $($rest:tt)*) => {
        $($make)+! { [(F32) f32, (F64) f64, (U8 | Bool) u8, (U32) u32, (I64) i64] $($rest)* }
    };
}

pub(crate) use {dtypes, floats, integers, natives};

macro_rules! names {
    ([$($V:ident $E:ident $name:literal),+]) => {
        impl DType {
            /// Bytes of one element.
            pub fn bytes(self) -> usize {
                match self {
                    $(Self::$V => size_of::<$E>(),)+
                }
            }

            /// The lower-case name: `f32`, `u8`, `bool`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$V => $name,)+
                }
            }
        }
    };
}
dtypes!([names]);
