//! What is in a file, without holding it.

use std::io::Read;
use std::path::Path;

use crate::element::{Element, ElementType};
use crate::error::Result;
use crate::reader::{Header, Options, Reader};

/// A file at a glance.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Element type and dimensions.
    pub header: Header,
    /// Unpacked bytes, header included.
    pub bytes: u64,
    /// The sum of all elements.
    pub sum: f64,
    /// The smallest element, NaN aside; `None` if there are no others.
    pub min: Option<f64>,
    /// The largest element, NaN aside; `None` if there are no others.
    pub max: Option<f64>,
    /// How many elements are NaN.
    pub nans: u64,
}

impl Summary {
    /// The mean of all elements; `None` if there are none.
    pub fn mean(&self) -> Option<f64> {
        let count = self.header.elements();
        (count > 0).then(|| self.sum / count as f64)
    }
}

/// Summarises a file, holding one record at a time.
///
/// ```no_run
/// let summary = wengert_idx::summarise("train-images-idx3-ubyte.gz", &Default::default())?;
/// println!("{:?} mean {:?}", summary.header.dims, summary.mean());
/// # Ok::<(), wengert_idx::Error>(())
/// ```
pub fn summarise(path: impl AsRef<Path>, options: &Options) -> Result<Summary> {
    let reader = Reader::open(path, options)?;
    match reader.header().element {
        ElementType::U8 => run::<u8, _>(reader),
        ElementType::I8 => run::<i8, _>(reader),
        ElementType::I16 => run::<i16, _>(reader),
        ElementType::I32 => run::<i32, _>(reader),
        ElementType::F32 => run::<f32, _>(reader),
        ElementType::F64 => run::<f64, _>(reader),
    }
}

fn run<T: Element, R: Read>(mut reader: Reader<R>) -> Result<Summary> {
    let header = reader.header().clone();
    let bytes = header.bytes() + header.elements() * header.element.bytes() as u64;
    let mut summary = Summary { header, bytes, sum: 0.0, min: None, max: None, nans: 0 };
    let mut record: Vec<T> = Vec::new();
    while reader.next_record(&mut record)? {
        summary.sum += record.iter().map(|x| x.to_f64()).sum::<f64>();
        for x in record.iter().map(|x| x.to_f64()) {
            if x.is_nan() {
                summary.nans += 1;
                continue;
            }
            summary.min = Some(summary.min.map_or(x, |m| m.min(x)));
            summary.max = Some(summary.max.map_or(x, |m| m.max(x)));
        }
    }
    Ok(summary)
}
