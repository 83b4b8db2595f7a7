//! Images that are a little different each time they are seen.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use crate::error::{Error, Result};

/// How images are varied: moved, turned, made larger or smaller, mirrored. What becomes of an image depends on the seed, the epoch and the number of the image alone, not on
/// threads or on what was seen before.
///
/// ```
/// use wengert_nn::Augment;
/// let augment = Augment { shift: 1.0, ..Augment::none(2, 2) };
/// let (image, mut varied) = ([1, 2, 3, 4], [0; 4]);
/// augment.apply((7, 0, 3), &image, &mut varied)?;
/// let mut again = [0; 4];
/// augment.apply((7, 0, 3), &image, &mut again)?;
/// assert_eq!(varied, again);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augment {
    /// Rows of an image.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// By how many pixels it is moved along each axis, at most; what is moved in is 0. With a border of zeros that is a random crop.
    pub shift: f64,
    /// By how many degrees it is turned, at most.
    pub rotation: f64,
    /// By which share it is made larger or smaller, at most.
    pub scale: f64,
    /// Whether every other image is mirrored.
    pub flip: bool,
}

impl Augment {
    /// Images of this height and width as they are.
    pub fn none(height: usize, width: usize) -> Self {
        Self { height, width, shift: 0.0, rotation: 0.0, scale: 0.0, flip: false }
    }

    /// Whether images stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::none(self.height, self.width)
    }

    /// Writes what becomes of an image of bytes, by the seed, the epoch and the number of the image. An error unless both are of that height and width.
    pub fn apply(&self, (seed, epoch, sample): (u64, u64, u64), image: &[u8], to: &mut [u8]) -> Result<()> {
        let Self { height, width, .. } = *self;
        if Some(image.len()) != height.checked_mul(width) || to.len() != image.len() {
            let found = (image.len(), to.len());
            return Err(Error::Argument(format!(
                "expected images of {height} by {width} pixels, found {found:?}"
            )));
        }
        if self.is_none() {
            to.copy_from_slice(image);
            return Ok(());
        }
        let mut rng = Pcg64::seed_from_u64(mixed(mixed(mixed(seed) ^ epoch) ^ sample));
        let mut within = |most: f64| (2.0 * rng.random::<f64>() - 1.0) * most;
        let (mut down, mut right) = (within(self.shift), within(self.shift));
        if self.rotation == 0.0 && self.scale == 0.0 {
            // Whole pixels, which nothing blurs.
            (down, right) = (down.round(), right.round());
        }
        let (angle, size) = (within(self.rotation).to_radians(), 1.0 + within(self.scale));
        let mirrored = self.flip && within(1.0) < 0.0;
        // By the half angle's tangent, from products alone, so that all machines agree; of an angle that is off by its fifth power.
        let tangent = angle / 2.0 * (1.0 + angle * angle / 12.0);
        let square = tangent * tangent;
        let (cosine, sine) = ((1.0 - square) / (1.0 + square), 2.0 * tangent / (1.0 + square));
        let centre = ((height as f64 - 1.0) / 2.0, (width as f64 - 1.0) / 2.0);
        for (i, row) in to.chunks_exact_mut(width.max(1)).enumerate() {
            for (j, pixel) in row.iter_mut().enumerate() {
                let j = if mirrored { width - 1 - j } else { j };
                // Where it comes from: moved back, made as large as it was, turned back.
                let (y, x) = (i as f64 - centre.0 - down, j as f64 - centre.1 - right);
                let (y, x) = ((cosine * y + sine * x) / size, (cosine * x - sine * y) / size);
                *pixel = between(image, (height, width), (y + centre.0, x + centre.1));
            }
        }
        Ok(())
    }
}

/// The image between its pixels, by the four around; 0 beyond its edges.
fn between(image: &[u8], (height, width): (usize, usize), (y, x): (f64, f64)) -> u8 {
    let (top, left) = (y.floor(), x.floor());
    let at = |row: f64, column: f64| {
        let inside = row >= 0.0 && column >= 0.0 && row < height as f64 && column < width as f64;
        if inside { f64::from(image[row as usize * width + column as usize]) } else { 0.0 }
    };
    let (down, right) = (y - top, x - left);
    let row = |row: f64| at(row, left) * (1.0 - right) + at(row, left + 1.0) * right;
    (row(top) * (1.0 - down) + row(top + 1.0) * down).round() as u8
}

/// A number that has nothing to do with this one (Steele et al., "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}
