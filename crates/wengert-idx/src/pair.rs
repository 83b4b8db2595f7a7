//! Images and the labels that belong to them.

use std::path::Path;

use ndarray::{Array1, ArrayD};

use crate::element::Element;
use crate::error::{Error, ErrorKind, Result};
use crate::reader::{AnyArray, Options, read_any};

/// Images and their labels, checked against each other.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The images: the first dimension counts them.
    pub images: AnyArray,
    /// The label of each image, below the number of classes.
    pub labels: Array1<u32>,
}

/// Reads images and labels and checks that they fit: as many labels as images, at least two
/// dimensions of images and one of labels, every label an integer in `0..classes`, images that have pixels, all of them finite. The error
/// names the file, the byte and the element.
///
/// ```no_run
/// use wengert_idx::{Options, read_pair};
/// let pair = read_pair("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", 10, &Options::default())?;
/// assert_eq!(pair.labels.len(), 60_000);
/// # Ok::<(), wengert_idx::Error>(())
/// ```
pub fn read_pair(
    images: impl AsRef<Path>,
    labels: impl AsRef<Path>,
    classes: u32,
    options: &Options,
) -> Result<Pair> {
    read_pair_by(images, labels, None, classes, options)
}

/// The same where labels have columns, of which one is the class: QMNIST's are `[n, 8]` of `i32`, with the class in column 0. Without a column labels have one
/// dimension.
///
/// ```no_run
/// use wengert_idx::{Options, read_pair_by};
/// let (images, labels) = ("qmnist-test-images-idx3-ubyte.gz", "qmnist-test-labels-idx2-int.gz");
/// let pair = read_pair_by(images, labels, Some(0), 10, &Options::default())?;
/// assert_eq!(pair.labels.len(), 60_000);
/// # Ok::<(), wengert_idx::Error>(())
/// ```
pub fn read_pair_by(
    images: impl AsRef<Path>,
    labels: impl AsRef<Path>,
    column: Option<usize>,
    classes: u32,
    options: &Options,
) -> Result<Pair> {
    let (images_path, labels_path) = (images.as_ref(), labels.as_ref());
    let images = read_any(images_path, options)?;
    let labels = read_any(labels_path, options)?;
    let wrong =
        |path: &Path, offset: u64, what: String| Err(Error::new(offset, ErrorKind::Content(what)).of(path));
    if images.shape().len() < 2 {
        let what = format!("expected images of at least two dimensions, found {:?}", images.shape());
        return wrong(images_path, 3, what);
    }
    let (first, columns) = match (column, labels.shape()) {
        (None, [_]) => (0, 1),
        (Some(column), &[_, columns]) if column < columns => (column, columns),
        (None, found) => {
            return wrong(labels_path, 3, format!("expected labels of one dimension, found {found:?}"));
        }
        (Some(column), found) => {
            let what = format!("expected labels of two dimensions with a column {column}, found {found:?}");
            return wrong(labels_path, 3, what);
        }
    };
    if images.shape()[0] != labels.shape()[0] {
        let what = format!(
            "expected {} labels, one for each image of {}, found {}",
            images.shape()[0],
            images_path.display(),
            labels.shape()[0]
        );
        return wrong(labels_path, 4, what);
    }
    if images.shape()[1..].contains(&0) {
        return wrong(images_path, 8, format!("expected images with pixels, found {:?}", images.shape()));
    }
    let strange = match &images {
        AnyArray::F32(a) => a
            .iter()
            .position(|x| !x.is_finite())
            .map(|i| (i, f64::from(a.as_slice().map_or(f32::NAN, |a| a[i])))),
        AnyArray::F64(a) => {
            a.iter().position(|x| !x.is_finite()).map(|i| (i, a.as_slice().map_or(f64::NAN, |a| a[i])))
        }
        _ => None,
    };
    if let Some((i, found)) = strange {
        let due = if found.is_nan() { "numbers" } else { "finite numbers" };
        let (offset, pixels) = (offset(&images, i), images.shape()[1..].iter().product::<usize>());
        return wrong(
            images_path,
            offset,
            format!("image {}: expected {due}, found {found}", i / pixels.max(1)),
        );
    }
    let checked = match &labels {
        AnyArray::U8(a) => in_range(a, (first, columns), classes),
        AnyArray::I8(a) => in_range(a, (first, columns), classes),
        AnyArray::I16(a) => in_range(a, (first, columns), classes),
        AnyArray::I32(a) => in_range(a, (first, columns), classes),
        AnyArray::F32(_) | AnyArray::F64(_) => {
            return wrong(labels_path, 2, format!("expected integer labels, found {}", labels.element()));
        }
    };
    match checked {
        Ok(checked) => Ok(Pair { images, labels: checked }),
        Err((i, found)) => {
            let what = format!("label {i}: expected 0 to {}, found {found}", classes.saturating_sub(1));
            wrong(labels_path, offset(&labels, i * columns + first), what)
        }
    }
}

/// The byte of a file's element.
fn offset(array: &AnyArray, element: usize) -> u64 {
    (4 + 4 * array.shape().len() + element * array.element().bytes()) as u64
}

/// One label of each row of so many columns.
fn in_range<T: Element>(
    labels: &ArrayD<T>,
    (first, columns): (usize, usize),
    classes: u32,
) -> Result<Array1<u32>, (usize, f64)> {
    labels
        .iter()
        .skip(first)
        .step_by(columns)
        .enumerate()
        .map(|(i, label)| match label.to_f64() {
            x if x >= 0.0 && x < f64::from(classes) => Ok(x as u32),
            x => Err((i, x)),
        })
        .collect()
}
