//! Reading: the header, records one by one, whole arrays.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, IxDyn};

use crate::element::{Element, ElementType};
use crate::error::{Error, ErrorKind, Result};
use crate::source::Source;

/// How to read.
///
/// ```
/// use wengert_idx::Options;
/// assert_eq!(Options::default().max_bytes, 1 << 30);
/// let careful = Options { max_bytes: 1 << 20 };
/// # let _ = careful;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The largest number of unpacked bytes, header included, that a file may announce or unpack to.
    /// 1 GiB by default.
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_bytes: 1 << 30 }
    }
}

/// What a file says of itself: element type and dimensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The type of the elements.
    pub element: ElementType,
    /// The dimensions, outermost first; none for a single element.
    pub dims: Vec<u32>,
}

impl Header {
    /// Bytes of the header itself.
    pub fn bytes(&self) -> u64 {
        4 + 4 * self.dims.len() as u64
    }

    /// Bytes of the whole file, unpacked, if they fit the limit.
    fn checked_bytes(&self, limit: u64) -> Result<u64> {
        // Sizes of zero count as one where it is asked whether the shape can be counted at all.
        let sizes = |least: u32| self.dims.iter().map(move |&d| u64::from(d.max(least)));
        let product = |least| sizes(least).try_fold(self.element.bytes() as u64, u64::checked_mul);
        let countable = product(1).filter(|&n| n <= isize::MAX as u64);
        let announced = countable.and_then(|_| product(0)).and_then(|n| n.checked_add(self.bytes()));
        let too_large = || Error::new(4, ErrorKind::TooLarge { announced, limit });
        announced.filter(|&n| n <= limit).ok_or_else(too_large)
    }

    /// The number of elements. Meaningful for headers that a [`Reader`] accepted.
    pub fn elements(&self) -> u64 {
        self.dims.iter().map(|&d| u64::from(d)).product()
    }

    /// The number of records: slices along the first dimension; one for a single element, none where
    /// they would be empty.
    pub fn records(&self) -> u64 {
        if self.record_elements() == 0 { 0 } else { self.dims.first().map_or(1, |&d| u64::from(d)) }
    }

    /// Elements of one record.
    pub fn record_elements(&self) -> u64 {
        self.dims.iter().skip(1).map(|&d| u64::from(d)).product()
    }
}

/// Reads records one by one, holding one of them at a time.
///
/// ```
/// use wengert_idx::{Encoding, Options, Reader, write_to};
/// let mut file = Vec::new();
/// write_to(&mut file, &ndarray::array![[1i16, 2], [3, 4]], Encoding::Raw)?;
/// let mut reader = Reader::new(&file[..], &Options::default())?;
/// let mut record: Vec<i16> = Vec::new();
/// let mut sums = Vec::new();
/// while reader.next_record(&mut record)? {
///     sums.push(record[0] + record[1]);
/// }
/// assert_eq!(sums, [3, 7]);
/// # Ok::<(), wengert_idx::Error>(())
/// ```
pub struct Reader<R: Read> {
    source: Source<R>,
    header: Header,
    /// Bytes that the header announces.
    expected: u64,
    records_left: u64,
    finished: bool,
    buffer: Vec<u8>,
    /// The file, to name it in errors.
    path: Option<PathBuf>,
}

impl Reader<File> {
    /// Opens a file and reads its header.
    pub fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self> {
        let path = path.as_ref();
        let io = |e| Error::new(0, ErrorKind::Io(e)).of(path);
        let file = File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(Error::new(0, ErrorKind::Directory).of(path));
        }
        let reader = Self::new(file, options).map_err(|e| e.of(path))?;
        Ok(Self { path: Some(path.to_owned()), ..reader })
    }
}

impl<R: Read> Reader<R> {
    /// Reads the header of a stream.
    pub fn new(reader: R, options: &Options) -> Result<Self> {
        let mut source = Source::new(reader)?;
        let mut start = Vec::with_capacity(4);
        let found = source.read_up_to(4, &mut start)?;
        if let [a, b, ..] = start[..]
            && [a, b] != [0, 0]
        {
            return Err(Error::new(0, ErrorKind::Magic { found: [a, b] }));
        }
        let [_, _, code, rank] = start[..] else {
            return Err(Error::new(found, ErrorKind::Truncated { expected: 4, found }));
        };
        let element =
            ElementType::from_code(code).ok_or_else(|| Error::new(2, ErrorKind::UnknownType { code }))?;
        let mut bytes = Vec::new();
        let more = source.read_up_to(4 * u64::from(rank), &mut bytes)?;
        if more < 4 * u64::from(rank) {
            let expected = 4 + 4 * u64::from(rank);
            return Err(Error::new(4 + more, ErrorKind::Truncated { expected, found: 4 + more }));
        }
        let dims = bytes.chunks_exact(4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]])).collect();
        let header = Header { element, dims };
        let expected = header.checked_bytes(options.max_bytes)?;
        let records_left = header.records();
        Ok(Self { source, header, expected, records_left, finished: false, buffer: Vec::new(), path: None })
    }

    /// Element type and dimensions.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Replaces `record` by the next one; `false` behind the last, once it is known that the file
    /// ends there as it should.
    pub fn next_record<T: Element>(&mut self, record: &mut Vec<T>) -> Result<bool> {
        self.record(record).map_err(|e| self.named(e))
    }

    fn named(&self, e: Error) -> Error {
        match &self.path {
            Some(path) => e.of(path),
            None => e,
        }
    }

    fn record<T: Element>(&mut self, record: &mut Vec<T>) -> Result<bool> {
        self.expect::<T>()?;
        record.clear();
        if self.records_left == 0 {
            self.finish()?;
            return Ok(false);
        }
        self.records_left -= 1;
        self.elements(self.header.record_elements(), record)?;
        Ok(true)
    }

    /// Reads all records that are left into one array.
    pub fn into_array<T: Element>(mut self) -> Result<ArrayD<T>> {
        self.array().map_err(|e| self.named(e))
    }

    fn array<T: Element>(&mut self) -> Result<ArrayD<T>> {
        self.expect::<T>()?;
        let mut dims: Vec<usize> = self.header.dims.iter().map(|&d| d as usize).collect();
        if let Some(first) = dims.first_mut().filter(|_| self.header.record_elements() > 0) {
            *first = self.records_left as usize;
        }
        let mut elements = Vec::new();
        self.elements(self.records_left * self.header.record_elements(), &mut elements)?;
        self.finish()?;
        let offset = self.source.offset;
        ArrayD::from_shape_vec(IxDyn(&dims), elements).map_err(|e| {
            Error::new(offset, ErrorKind::Content(format!("the shape {dims:?} cannot be held: {e}")))
        })
    }

    fn expect<T: Element>(&self) -> Result<()> {
        let (expected, found) = (T::TYPE, self.header.element);
        if expected == found { Ok(()) } else { Err(Error::new(2, ErrorKind::WrongType { expected, found })) }
    }

    fn elements<T: Element>(&mut self, count: u64, into: &mut Vec<T>) -> Result<()> {
        /// A multiple of every element's size.
        const CHUNK: u64 = 1 << 20;
        let mut left = count * T::TYPE.bytes() as u64;
        while left > 0 {
            self.buffer.clear();
            let wanted = left.min(CHUNK);
            let read = self.source.read_up_to(wanted, &mut self.buffer)?;
            into.try_reserve(self.buffer.len() / size_of::<T>()).map_err(|_| {
                let full = std::io::Error::from(std::io::ErrorKind::OutOfMemory);
                Error::new(self.source.offset, ErrorKind::Io(full))
            })?;
            T::decode(&self.buffer, into);
            left -= read;
            if read < wanted {
                let (expected, found) = (self.expected, self.source.offset);
                return Err(Error::new(found, ErrorKind::Truncated { expected, found }));
            }
        }
        Ok(())
    }

    /// Checks that nothing follows.
    fn finish(&mut self) -> Result<()> {
        if !self.finished && !self.source.at_end()? {
            return Err(Error::new(self.source.offset, ErrorKind::Trailing { expected: self.expected }));
        }
        self.finished = true;
        Ok(())
    }
}

/// Reads a whole file of known element type.
///
/// ```no_run
/// use wengert_idx::{Options, read};
/// let images = read::<u8>("train-images-idx3-ubyte.gz", &Options::default())?;
/// assert_eq!(images.shape(), &[60_000, 28, 28]);
/// # Ok::<(), wengert_idx::Error>(())
/// ```
pub fn read<T: Element>(path: impl AsRef<Path>, options: &Options) -> Result<ArrayD<T>> {
    Reader::open(path, options)?.into_array()
}

/// Reads a whole stream of known element type.
///
/// ```
/// let error = wengert_idx::read_from::<u8>(&b"\0\0\x08"[..], &Default::default()).unwrap_err();
/// assert_eq!(error.to_string(), "truncated at byte 3: the header announces 4 bytes, found 3");
/// ```
pub fn read_from<T: Element>(reader: impl Read, options: &Options) -> Result<ArrayD<T>> {
    Reader::new(reader, options)?.into_array()
}

/// An array of any of the six element types.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // each variant is named after its element type
pub enum AnyArray {
    U8(ArrayD<u8>),
    I8(ArrayD<i8>),
    I16(ArrayD<i16>),
    I32(ArrayD<i32>),
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
}

impl AnyArray {
    /// The dimensions.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::U8(a) => a.shape(),
            Self::I8(a) => a.shape(),
            Self::I16(a) => a.shape(),
            Self::I32(a) => a.shape(),
            Self::F32(a) => a.shape(),
            Self::F64(a) => a.shape(),
        }
    }

    /// The element type.
    pub fn element(&self) -> ElementType {
        match self {
            Self::U8(_) => ElementType::U8,
            Self::I8(_) => ElementType::I8,
            Self::I16(_) => ElementType::I16,
            Self::I32(_) => ElementType::I32,
            Self::F32(_) => ElementType::F32,
            Self::F64(_) => ElementType::F64,
        }
    }
}

/// Reads a whole file of any element type.
///
/// ```no_run
/// let labels = wengert_idx::read_any("train-labels-idx1-ubyte.gz", &Default::default())?;
/// println!("{} {:?}", labels.element(), labels.shape());
/// # Ok::<(), wengert_idx::Error>(())
/// ```
pub fn read_any(path: impl AsRef<Path>, options: &Options) -> Result<AnyArray> {
    let reader = Reader::open(path, options)?;
    match reader.header().element {
        ElementType::U8 => reader.into_array().map(AnyArray::U8),
        ElementType::I8 => reader.into_array().map(AnyArray::I8),
        ElementType::I16 => reader.into_array().map(AnyArray::I16),
        ElementType::I32 => reader.into_array().map(AnyArray::I32),
        ElementType::F32 => reader.into_array().map(AnyArray::F32),
        ElementType::F64 => reader.into_array().map(AnyArray::F64),
    }
}
