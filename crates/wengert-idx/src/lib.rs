//! IDX files, the format of MNIST: read, stream, write and check them, gzipped or raw.
//!
//! A file is a header — two zero bytes, the code of the element type, the number of dimensions,
//! each dimension as a big-endian `u32` — followed by the elements, row-major and big-endian
//! (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"). Gzipped files are
//! recognised by their content, whatever their name.
//!
//! Headers are not believed: every size is checked before it is multiplied, a [limit](Options) holds
//! for what a header claims and for what a compressed file unpacks to, and memory grows with the bytes that
//! arrive. Errors name the file, the byte offset, and what was expected and found. Nothing panics.
//!
//! ```
//! use ndarray::array;
//! use wengert_idx::{Encoding, Options, read_from, write_to};
//! let pixels = array![[0u8, 128], [255, 7]];
//! let mut file = Vec::new();
//! write_to(&mut file, &pixels, Encoding::Gzip)?;
//! let back = read_from::<u8>(&file[..], &Options::default())?;
//! assert_eq!(back, pixels.into_dyn());
//! # Ok::<(), wengert_idx::Error>(())
//! ```

#![forbid(unsafe_code)]

mod element;
mod error;
mod pair;
mod reader;
mod replace;
mod source;
mod summary;
mod writer;

pub use element::{Element, ElementType};
pub use error::{Error, ErrorKind, Result};
pub use pair::{Pair, read_pair, read_pair_by};
pub use reader::{AnyArray, Header, Options, Reader, read, read_any, read_from};
pub use replace::replace_file;
pub use summary::{Summary, summarise};
pub use writer::{Encoding, write, write_to};
