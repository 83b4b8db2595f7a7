//! Grey images inside of a page.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::Failure;

/// A PNG image of bytes, as the address of an `img`.
pub(super) fn address(width: usize, height: usize, pixels: &[u8]) -> Result<String, Failure> {
    let failed = |e: png::EncodingError| Failure::Work(format!("an image of the report: {e}"));
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size(width), size(height));
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(pixels).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(format!("data:image/png;base64,{}", BASE64_STANDARD.encode(bytes)))
}

/// Weights as greys: black is the most negative, white the most positive, and zero lies in the middle.
pub(super) fn greys(weights: &[f64]) -> Vec<u8> {
    let most = weights.iter().fold(1e-30, |most: f64, w| most.max(w.abs()));
    weights.iter().map(|w| (127.5 + 127.5 * w / most).round() as u8).collect()
}
