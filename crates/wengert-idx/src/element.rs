//! The six element types.

use std::fmt;

use byteorder::{BigEndian, ByteOrder};

/// The type of a file's elements.
///
/// ```
/// use wengert_idx::ElementType;
/// assert_eq!(ElementType::from_code(0x0D), Some(ElementType::F32));
/// assert_eq!(ElementType::I16.bytes(), 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ElementType {
    /// Unsigned bytes, code `0x08`.
    U8,
    /// Signed bytes, code `0x09`.
    I8,
    /// Signed 16-bit integers, code `0x0B`.
    I16,
    /// Signed 32-bit integers, code `0x0C`.
    I32,
    /// 32-bit floats, code `0x0D`.
    F32,
    /// 64-bit floats, code `0x0E`.
    F64,
}

impl ElementType {
    /// All six.
    pub const ALL: [Self; 6] = [Self::U8, Self::I8, Self::I16, Self::I32, Self::F32, Self::F64];

    /// The byte that stands for the type in a header.
    pub fn code(self) -> u8 {
        match self {
            Self::U8 => 0x08,
            Self::I8 => 0x09,
            Self::I16 => 0x0B,
            Self::I32 => 0x0C,
            Self::F32 => 0x0D,
            Self::F64 => 0x0E,
        }
    }

    /// The type that a byte stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.code() == code)
    }

    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 => 2,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::F32 => "f32",
            Self::F64 => "f64",
        })
    }
}

/// A Rust type that IDX files can hold: `u8 i8 i16 i32 f32 f64`.
///
/// ```
/// use wengert_idx::{Element, ElementType};
/// assert_eq!(<f64 as Element>::TYPE, ElementType::F64);
/// ```
pub trait Element: Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The element type that this Rust type stands for.
    const TYPE: ElementType;
    /// Appends the elements of big-endian bytes, whose number is a multiple of the element's.
    fn decode(bytes: &[u8], into: &mut Vec<Self>);
    /// Appends the big-endian bytes of elements.
    fn encode(elements: &[Self], into: &mut Vec<u8>);
    /// The value as f64, exactly.
    fn to_f64(self) -> f64;
}

macro_rules! element {
    ($T:ident, $Type:ident, $decode:expr, $write:ident) => {
        impl Element for $T {
            const TYPE: ElementType = ElementType::$Type;
            fn decode(bytes: &[u8], into: &mut Vec<Self>) {
                into.extend(bytes.chunks_exact(size_of::<$T>()).map($decode));
            }
            fn encode(elements: &[Self], into: &mut Vec<u8>) {
                let start = into.len();
                into.resize(start + size_of_val(elements), 0);
                for (bytes, &element) in into[start..].chunks_exact_mut(size_of::<$T>()).zip(elements) {
                    BigEndian::$write(bytes, element);
                }
            }
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
        }
    };
}
element!(i16, I16, BigEndian::read_i16, write_i16);
element!(i32, I32, BigEndian::read_i32, write_i32);
element!(f32, F32, BigEndian::read_f32, write_f32);
element!(f64, F64, BigEndian::read_f64, write_f64);

impl Element for u8 {
    const TYPE: ElementType = ElementType::U8;
    fn decode(bytes: &[u8], into: &mut Vec<Self>) {
        into.extend_from_slice(bytes);
    }
    fn encode(elements: &[Self], into: &mut Vec<u8>) {
        into.extend_from_slice(elements);
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

impl Element for i8 {
    const TYPE: ElementType = ElementType::I8;
    fn decode(bytes: &[u8], into: &mut Vec<Self>) {
        into.extend(bytes.iter().map(|&b| b.cast_signed()));
    }
    fn encode(elements: &[Self], into: &mut Vec<u8>) {
        into.extend(elements.iter().map(|&e| e.cast_unsigned()));
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}
