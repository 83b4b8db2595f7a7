//! Labelled images, wherever they are.

use std::sync::Arc;

use ndarray::{Array1, Array2};

use crate::data::Split;
use crate::epochs::shuffled;
use crate::error::{Error, Result};

/// Labelled images of bytes, by their numbers: what is trained on and evaluated. A [`Split`] has them in memory; others may read them from wherever they lie, from several threads.
///
/// ```
/// use wengert_nn::{Examples, Result};
/// struct Stripes;
/// impl Examples for Stripes {
///     fn len(&self) -> usize {
///         100
///     }
///     fn size(&self) -> (usize, usize) {
///         (4, 4)
///     }
///     fn example(&self, number: usize, pixels: &mut [u8]) -> Result<u32> {
///         let upright = number % 2;
///         pixels.iter_mut().enumerate().for_each(|(i, p)| *p = if (i / [4, 1][upright]) % 2 == 0 { 255 } else { 0 });
///         Ok(upright as u32)
///     }
/// }
/// assert_eq!(Stripes.example(3, &mut [0; 16])?, 1);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub trait Examples: Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Rows of an image, and pixels of a row.
    fn size(&self) -> (usize, usize);
    /// Writes the pixels of an example, and returns its class: the same each time.
    fn example(&self, number: usize, pixels: &mut [u8]) -> Result<u32>;
    /// Whether that takes no time worth mention, so that it need not be done ahead.
    fn in_memory(&self) -> bool {
        false
    }
}

impl Examples for Split {
    fn len(&self) -> usize {
        self.labels.len()
    }
    fn size(&self) -> (usize, usize) {
        self.size
    }
    fn example(&self, number: usize, pixels: &mut [u8]) -> Result<u32> {
        let missing = || Error::Argument(format!("the example {number} of {}", self.labels.len()));
        let label = *self.labels.get(number).ok_or_else(missing)?;
        let images = self.images.nrows();
        if number >= images || self.images.ncols() != pixels.len() {
            let found = self.images.ncols();
            let what = format!(
                "expected an image of {} pixels for the label {number}, found {found} in {images}",
                pixels.len()
            );
            return Err(Error::Argument(what));
        }
        let image = self.images.row(number);
        match image.as_slice() {
            Some(image) => pixels.copy_from_slice(image),
            None => pixels.iter_mut().zip(image).for_each(|(to, from)| *to = *from),
        }
        Ok(label)
    }
    fn in_memory(&self) -> bool {
        true
    }
}

impl<E: Examples + ?Sized> Examples for Arc<E> {
    fn len(&self) -> usize {
        (**self).len()
    }
    fn size(&self) -> (usize, usize) {
        (**self).size()
    }
    fn example(&self, number: usize, pixels: &mut [u8]) -> Result<u32> {
        (**self).example(number, pixels)
    }
    fn in_memory(&self) -> bool {
        (**self).in_memory()
    }
}

/// Some of other examples.
#[derive(Clone)]
pub struct Subset {
    of: Arc<dyn Examples>,
    numbers: Vec<u32>,
}

impl Subset {
    /// The first of them, as far as there are so many.
    pub fn first(of: Arc<dyn Examples>, count: usize) -> Self {
        let count = count.min(of.len()).min(u32::MAX as usize);
        Self { of, numbers: (0..count as u32).collect() }
    }

    /// Two parts, of which the second has this share of all: chosen by a seed, each in the order of the whole. An error unless both have some.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ndarray::{Array1, Array2};
    /// use wengert_nn::{Examples, Split, Subset};
    /// let all = Split { images: Array2::zeros((10, 4)), labels: Array1::zeros(10), size: (2, 2) };
    /// let (train, validation) = Subset::divided(Arc::new(all), 0.2, 7)?;
    /// assert_eq!((train.len(), validation.len()), (8, 2));
    /// # Ok::<(), wengert_nn::Error>(())
    /// ```
    pub fn divided(of: Arc<dyn Examples>, share: f64, seed: u64) -> Result<(Self, Self)> {
        let what = format!("a share of {share} of {} examples: expected some in both parts", of.len());
        let wrong = || Error::Argument(what.clone());
        let count = u32::try_from(of.len()).map_err(|_| wrong())?;
        let second = (f64::from(count) * share).round();
        if !(second >= 1.0 && second < f64::from(count)) {
            return Err(wrong());
        }
        let mut first = shuffled(count, seed ^ 0x7661_6c69_6461_7465, 0);
        let mut second = first.split_off(first.len() - second as usize);
        first.sort_unstable();
        second.sort_unstable();
        Ok((Self { of: of.clone(), numbers: first }, Self { of, numbers: second }))
    }
}

impl Examples for Subset {
    fn len(&self) -> usize {
        self.numbers.len()
    }
    fn size(&self) -> (usize, usize) {
        self.of.size()
    }
    fn example(&self, number: usize, pixels: &mut [u8]) -> Result<u32> {
        let of = self.numbers.get(number);
        let of = of.ok_or_else(|| Error::Argument(format!("the example {number} of {}", self.len())))?;
        self.of.example(*of as usize, pixels)
    }
    fn in_memory(&self) -> bool {
        self.of.in_memory()
    }
}

/// The images and labels of these numbers, one a row.
pub(crate) fn gathered(
    examples: &dyn Examples,
    numbers: impl ExactSizeIterator<Item = usize>,
) -> Result<(Array2<u8>, Array1<u32>)> {
    let (height, width) = examples.size();
    let (count, pixels) = (numbers.len(), height.saturating_mul(width));
    let mut images = vec![0; count.saturating_mul(pixels)];
    let mut labels = Vec::with_capacity(count);
    for (number, to) in numbers.zip(images.chunks_exact_mut(pixels.max(1))) {
        labels.push(examples.example(number, to)?);
    }
    let images = Array2::from_shape_vec((count, pixels), images);
    Ok((images.map_err(|e| Error::Argument(e.to_string()))?, labels.into()))
}

/// The CRC-32 of all pixels and labels: what tells one data set from another. An error where a label is no class.
pub(crate) fn checksum(all: &[&dyn Examples], classes: usize) -> Result<u32> {
    let mut crc = flate2::Crc::new();
    for examples in all {
        let (height, width) = examples.size();
        let mut pixels = vec![0; height.saturating_mul(width)];
        crc.update(&(examples.len() as u64).to_le_bytes());
        for number in 0..examples.len() {
            let label = examples.example(number, &mut pixels)?;
            if label as usize >= classes {
                return Err(Error::Argument(format!("the label {label} of {classes} classes")));
            }
            crc.update(&pixels);
            crc.update(&label.to_le_bytes());
        }
    }
    Ok(crc.sum())
}
