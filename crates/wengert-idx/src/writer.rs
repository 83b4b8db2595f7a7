//! Writing arrays.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ndarray::{ArrayBase, Data, Dimension};

use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::replace::replace_file;

/// How to store the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// Compressed with gzip. The same array gives the same bytes: no name and no time is stored.
    Gzip,
}

/// Writes an array to a file, which is replaced whole or not at all.
///
/// ```no_run
/// use wengert_idx::{Encoding, write};
/// write("pixels-idx2-ubyte.gz", &ndarray::array![[1u8, 2], [3, 4]], Encoding::Gzip)?;
/// # Ok::<(), wengert_idx::Error>(())
/// ```
pub fn write<T, S, D>(path: impl AsRef<Path>, array: &ArrayBase<S, D>, encoding: Encoding) -> Result<()>
where
    T: Element,
    S: Data<Elem = T>,
    D: Dimension,
{
    let path = path.as_ref();
    replace_file(path, |file| write_to(file, array, encoding)).map_err(|e: Error| e.of(path))
}

/// Writes an array to a stream. An error where the array has more than 255 dimensions or one
/// of them exceeds 32 bits.
///
/// ```
/// use wengert_idx::{Encoding, write_to};
/// let mut bytes = Vec::new();
/// write_to(&mut bytes, &ndarray::array![[1i16, -2]], Encoding::Raw)?;
/// assert_eq!(bytes, [0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0xFF, 0xFE]);
/// # Ok::<(), wengert_idx::Error>(())
/// ```
pub fn write_to<T, S, D>(writer: impl Write, array: &ArrayBase<S, D>, encoding: Encoding) -> Result<()>
where
    T: Element,
    S: Data<Elem = T>,
    D: Dimension,
{
    let unfit = |what: String| Error::new(3, ErrorKind::Content(what));
    let rank = u8::try_from(array.ndim())
        .map_err(|_| unfit(format!("{} dimensions; an IDX file has at most 255", array.ndim())))?;
    let mut header = vec![0, 0, T::TYPE.code(), rank];
    for &d in array.shape() {
        let d = u32::try_from(d).map_err(|_| unfit(format!("a dimension of {d} exceeds 32 bits")))?;
        header.extend(d.to_be_bytes());
    }
    let io = |e| Error::new(0, ErrorKind::Io(e));
    match encoding {
        Encoding::Raw => {
            let mut writer = BufWriter::new(writer);
            body(&mut writer, &header, array).and_then(|()| writer.flush()).map_err(io)
        }
        Encoding::Gzip => {
            let mut writer = GzEncoder::new(BufWriter::new(writer), Compression::best());
            body(&mut writer, &header, array)
                .and_then(|()| writer.finish())
                .and_then(|mut inner| inner.flush())
                .map_err(io)
        }
    }
}

fn body<T, S, D>(writer: &mut impl Write, header: &[u8], array: &ArrayBase<S, D>) -> io::Result<()>
where
    T: Element,
    S: Data<Elem = T>,
    D: Dimension,
{
    const CHUNK: usize = 1 << 16;
    writer.write_all(header)?;
    let mut bytes = Vec::new();
    let mut flush = |elements: &[T]| {
        bytes.clear();
        T::encode(elements, &mut bytes);
        writer.write_all(&bytes)
    };
    if let Some(elements) = array.as_slice() {
        return elements.chunks(CHUNK).try_for_each(flush);
    }
    let mut chunk = Vec::with_capacity(CHUNK);
    for &element in array {
        chunk.push(element);
        if chunk.len() == CHUNK {
            flush(&chunk)?;
            chunk.clear();
        }
    }
    flush(&chunk)
}
