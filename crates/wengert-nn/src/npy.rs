//! NumPy's files: `.npy`, one array, and `.npz`, several by their names.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Write};
use std::path::Path;

use wengert::{DType, States, Tensor};
use wengert_idx::replace_file;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use crate::error::{Error, Result};
use crate::files::read_limited;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Files that unpack to more than this are not read.
const MAX_BYTES: u64 = 1 << 32;

/// Writes an array as NumPy's `.npy`, version 1.0 (NumPy Enhancement Proposal 1), which is replaced whole or not at all.
///
/// ```no_run
/// wengert_nn::save_npy("w.npy", &wengert::Tensor::scalar(1.0))?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn save_npy(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let path = path.as_ref();
    let bytes = encoded(tensor);
    replace_file(path, |file| file.write_all(&bytes)).map_err(|e| Error::Io(path.to_owned(), e))
}

/// Reads a `.npy` of `f32`, `f64`, `u8`, `u32`, `i64` or truth values, little-endian, in the order of C or Fortran. An error says what was expected and found.
///
/// ```no_run
/// let w = wengert_nn::load_npy("w.npy")?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn load_npy(path: impl AsRef<Path>) -> Result<Tensor> {
    let path = path.as_ref();
    let io = |e| Error::Io(path.to_owned(), e);
    let bytes = read_limited(File::open(path).map_err(io)?, MAX_BYTES).map_err(io)?;
    decoded(&bytes).map_err(|what| Error::Model(path.to_owned(), what))
}

/// Writes all states of a store as a `.npz`: `numpy.load` finds them by their names. The same states give the same bytes.
///
/// ```no_run
/// # let states = wengert::States::new();
/// wengert_nn::save_npz("model.npz", &states)?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn save_npz(path: impl AsRef<Path>, states: &States) -> Result<()> {
    let path = path.as_ref();
    let wrong = |what: String| Error::Model(path.to_owned(), what);
    // As numpy.savez does; the date is always that of the format's beginning.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default());
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let sorted: BTreeMap<&str, &Tensor> = states.iter().map(|(_, name, tensor)| (name, tensor)).collect();
    for (name, tensor) in sorted {
        archive.start_file(format!("{name}.npy"), options).map_err(|e| wrong(e.to_string()))?;
        archive.write_all(&encoded(tensor)).map_err(|e| Error::Io(path.to_owned(), e))?;
    }
    let bytes = archive.finish().map_err(|e| wrong(e.to_string()))?.into_inner();
    replace_file(path, |file| file.write_all(&bytes)).map_err(|e| Error::Io(path.to_owned(), e))
}

/// Reads a `.npz`, compressed or not, into a store, in the order of their names. An error where a part of it is no array that [`load_npy`] reads.
///
/// ```no_run
/// let states = wengert_nn::load_npz("model.npz")?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn load_npz(path: impl AsRef<Path>) -> Result<States> {
    let path = path.as_ref();
    let wrong = |what: String| Error::Model(path.to_owned(), what);
    let file = File::open(path).map_err(|e| Error::Io(path.to_owned(), e))?;
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|e| wrong(format!("no .npz file: {e}")))?;
    // For all together: packed, a small file may hold any number of zeros.
    let (mut left, mut found) = (MAX_BYTES, BTreeMap::new());
    for i in 0..archive.len() {
        let part = archive.by_index(i).map_err(|e| wrong(e.to_string()))?;
        let file = part.name().map_err(|e| wrong(e.to_string()))?.into_owned();
        let name = file.strip_suffix(".npy").unwrap_or(&file).to_owned();
        let bytes = read_limited(part, left).map_err(|e| wrong(format!("{file}: {e}")))?;
        left -= bytes.len() as u64;
        let tensor = decoded(&bytes).map_err(|what| wrong(format!("{file}: {what}")))?;
        if found.insert(name, tensor).is_some() {
            return Err(wrong(format!("{file}: there are two arrays of that name")));
        }
    }
    let mut states = States::new();
    for (name, tensor) in found {
        states.add(&name, tensor)?;
    }
    Ok(states)
}

fn encoded(tensor: &Tensor) -> Vec<u8> {
    let descr = match tensor.ty().dtype {
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::U8 => "|u1",
        DType::U32 => "<u4",
        DType::I64 => "<i8",
        DType::Bool => "|b1",
    };
    let sizes: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    // A tuple of one has a comma.
    let comma = if sizes.len() == 1 { "," } else { "" };
    let shape = format!("({}{comma})", sizes.join(", "));
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // Data begin at a multiple of 64 bytes; before them is a line break.
    let length = (MAGIC.len() + 4 + header.len() + 1).next_multiple_of(64) - MAGIC.len() - 4;
    header.extend(std::iter::repeat_n(' ', length - 1 - header.len()));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    let width = tensor.ty().dtype.bytes();
    let elements = tensor.data().as_bytes().chunks_exact(width);
    if cfg!(target_endian = "little") {
        bytes.extend(tensor.data().as_bytes());
    } else {
        elements.for_each(|element| bytes.extend(element.iter().rev()));
    }
    bytes
}

/// What a header says: the type as NumPy writes it, whether the first axis is the fastest, and the sizes.
struct Header {
    descr: String,
    fortran: bool,
    shape: Vec<usize>,
}

fn decoded(bytes: &[u8]) -> Result<Tensor, String> {
    let (header, data) = split(bytes).ok_or("no .npy file: expected the header that NumPy writes")?;
    let header = parsed(header)?;
    let count = header.shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size));
    let width = match &*header.descr {
        "|u1" | "|b1" => 1,
        "<f4" | "<u4" => 4,
        "<f8" | "<i8" => 8,
        other => return Err(format!("expected <f4, <f8, |u1, <u4, <i8 or |b1, found {other}")),
    };
    let due = count.and_then(|count| count.checked_mul(width)).ok_or("the shape has too many elements")?;
    if data.len() != due {
        return Err(format!("expected {due} bytes of elements, found {}", data.len()));
    }
    let fortran = header.fortran && header.shape.len() > 1;
    let shape = if fortran { header.shape.iter().rev().copied().collect() } else { header.shape };
    macro_rules! tensor {
        ($T:ty) => {{
            let element = |b: &[u8]| b.try_into().map_or_else(|_| Default::default(), <$T>::from_le_bytes);
            let all: Vec<$T> = data.chunks_exact(size_of::<$T>()).map(element).collect();
            Tensor::new(&shape, all)
        }};
    }
    let tensor = match &*header.descr {
        "<f4" => tensor!(f32),
        "<f8" => tensor!(f64),
        "|u1" => tensor!(u8),
        "<u4" => tensor!(u32),
        "<i8" => tensor!(i64),
        _ => Tensor::new(&shape, data.iter().map(|b| *b != 0).collect::<Vec<bool>>()),
    };
    let tensor = tensor.map_err(|e| e.to_string())?;
    if fortran { transposed(&tensor).map_err(|e| e.to_string()) } else { Ok(tensor) }
}

/// All axes in the other order.
fn transposed(tensor: &Tensor) -> wengert::Result<Tensor> {
    let t = wengert::Recorder::default();
    let axes: Vec<usize> = (0..tensor.shape().len()).rev().collect();
    Ok((*t.constant(tensor.clone()).permute(&axes[..]).value()?).clone())
}

/// The text of the header, and the data behind it.
fn split(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (length, rest) = match rest {
        [1, _, a, b, rest @ ..] => (usize::from(u16::from_le_bytes([*a, *b])), rest),
        [2 | 3, _, a, b, c, d, rest @ ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, rest),
        _ => return None,
    };
    let header = std::str::from_utf8(rest.get(..length)?).ok()?;
    Some((header, &rest[length..]))
}

/// Reads the dictionary that NumPy writes: three entries, in any order.
fn parsed(header: &str) -> Result<Header, String> {
    let value = |key: &str| {
        let at = header.find(&format!("'{key}':")).map(|at| at + key.len() + 3);
        at.map(|at| header[at..].trim_start()).ok_or_else(|| format!("expected {key} in {}", header.trim()))
    };
    let wrong = |key: &str| format!("{key} is not understood in {}", header.trim());
    let descr = value("descr")?;
    let descr = descr.strip_prefix('\'').and_then(|text| text.split('\'').next());
    let order = value("fortran_order")?;
    let fortran = order.starts_with("True");
    if !fortran && !order.starts_with("False") {
        return Err(wrong("fortran_order"));
    }
    let shape = value("shape")?.strip_prefix('(').and_then(|text| text.split(')').next());
    let sizes =
        shape.ok_or_else(|| wrong("shape"))?.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(|size| size.parse().ok()).collect::<Option<Vec<usize>>>();
    Ok(Header {
        descr: descr.ok_or_else(|| wrong("descr"))?.to_owned(),
        fortran,
        shape: shape.ok_or_else(|| wrong("shape"))?,
    })
}
