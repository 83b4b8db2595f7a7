//! Labelled images in memory, as bytes.

use std::path::Path;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, Slice};
use wengert_idx::{AnyArray, Options, read_pair_by};

use crate::error::{Error, Result};
use crate::files::find_part;

/// Images, one a row, and their labels. Pixels stay bytes; rows are gathered, cast and scaled on the
/// tape.
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    /// One image a row.
    pub images: Array2<u8>,
    /// The class of each image.
    pub labels: Array1<u32>,
    /// Rows of an image, and pixels of a row.
    pub size: (usize, usize),
}

impl Split {
    /// Reads images and labels, and checks them against each other. An error where the files are
    /// broken, do not fit, or hold other elements than bytes.
    pub fn read(
        images: impl AsRef<Path>,
        labels: impl AsRef<Path>,
        classes: u32,
        options: &Options,
    ) -> Result<Self> {
        Self::read_by(images, labels, None, classes, options)
    }

    /// The same where labels have columns, of which one is the class, as QMNIST's.
    pub fn read_by(
        images: impl AsRef<Path>,
        labels: impl AsRef<Path>,
        column: Option<usize>,
        classes: u32,
        options: &Options,
    ) -> Result<Self> {
        let path = images.as_ref();
        let pair = read_pair_by(path, labels, column, classes, options)?;
        let AnyArray::U8(pixels) = pair.images else {
            let what = format!("expected images of u8, found {}", pair.images.element());
            return Err(Error::Model(path.to_owned(), what));
        };
        let count = pixels.shape()[0];
        let size = match pixels.shape()[1..] {
            [height, ref rest @ ..] if !rest.is_empty() => (height, rest.iter().product()),
            ref rest => (1, rest.iter().product()),
        };
        let images = pixels
            .into_shape_with_order((count, size.0 * size.1))
            .map_err(|e| Error::Model(path.to_owned(), e.to_string()))?;
        Ok(Self { images, labels: pair.labels, size })
    }

    /// Reads a part (`train` or `t10k`) of the four files of a data set of MNIST's form in a folder, [however they are called](crate::find_part). An error where it holds no images.
    ///
    /// ```no_run
    /// let test = wengert_nn::Split::load("datasets/mnist", "t10k", 10, &Default::default())?;
    /// assert_eq!(test.len(), 10_000);
    /// # Ok::<(), wengert_nn::Error>(())
    /// ```
    pub fn load(dir: impl AsRef<Path>, part: &str, classes: u32, options: &Options) -> Result<Self> {
        Self::load_by(dir, part, None, classes, options)
    }

    /// The same where labels have columns, of which one is the class.
    pub fn load_by(
        dir: impl AsRef<Path>,
        part: &str,
        column: Option<usize>,
        classes: u32,
        options: &Options,
    ) -> Result<Self> {
        let (images, labels) = find_part(dir, part)?;
        let split = Self::read_by(&images, labels, column, classes, options)?;
        if split.is_empty() || split.images.ncols() == 0 {
            return Err(Error::Model(images, "expected images, found none".into()));
        }
        Ok(split)
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The images and labels `from..to`, as far as there are any.
    pub fn part(&self, from: usize, to: usize) -> (ArrayView2<'_, u8>, ArrayView1<'_, u32>) {
        let to = to.min(self.len());
        let range = Slice::from(from.min(to)..to);
        (self.images.slice_axis(Axis(0), range), self.labels.slice_axis(Axis(0), range))
    }
}

/// Images to train with and images to test, shared by all who use them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// What the model learns from.
    pub train: Arc<Split>,
    /// What it has never seen.
    pub test: Arc<Split>,
}

impl Dataset {
    /// Reads the four files of MNIST's names from a folder, gzipped or raw, on up to `threads`
    /// threads.
    ///
    /// ```no_run
    /// let data = wengert_nn::Dataset::load("datasets/mnist", 10, 2, &Default::default())?;
    /// assert_eq!((data.train.len(), data.test.len()), (60_000, 10_000));
    /// # Ok::<(), wengert_nn::Error>(())
    /// ```
    pub fn load(dir: impl AsRef<Path>, classes: u32, threads: usize, options: &Options) -> Result<Self> {
        Self::load_by(dir, None, classes, threads, options)
    }

    /// The same where labels have columns, of which one is the class.
    pub fn load_by(
        dir: impl AsRef<Path>,
        column: Option<usize>,
        classes: u32,
        threads: usize,
        options: &Options,
    ) -> Result<Self> {
        let dir = dir.as_ref();
        let split = |part: &str| Split::load_by(dir, part, column, classes, options);
        let (train, test) = std::thread::scope(|scope| {
            let other = std::thread::Builder::new();
            // Where no other thread can be spawned, this one reads both.
            let test =
                (threads > 1).then(|| other.spawn_scoped(scope, || split("t10k"))).and_then(Result::ok);
            let train = split("train");
            let ended = |_| Err(Error::Argument("the loading thread ended early".into()));
            (train, test.map_or_else(|| split("t10k"), |t| t.join().unwrap_or_else(ended)))
        });
        let data = Self { train: Arc::new(train?), test: Arc::new(test?) };
        let (a, b) = (data.train.size, data.test.size);
        if a != b {
            let what = format!("images to train with are {a:?} pixels, images to test {b:?}");
            return Err(Error::Model(dir.to_owned(), what));
        }
        Ok(data)
    }
}
