//! Images to predict: IDX files and PNGs.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use wengert_idx::{Options, Reader};

use crate::Failure;
use crate::eval::fits;

/// An image, and which of its file it is.
pub(crate) struct Picture {
    pub(crate) number: u64,
    pub(crate) pixels: Vec<u8>,
    pub(crate) width: usize,
}

/// Pixels of a PNG, and bytes of its file, at most: what a camera makes, and no bomb.
const MOST: u64 = 64 << 20;

/// The images of a file that are asked for, and how many it has: an IDX file many, a PNG one. `size` is what a model reads.
pub(crate) fn read(
    path: &Path,
    wanted: &dyn Fn(u64) -> bool,
    size: (usize, usize),
    invert: bool,
    options: &Options,
) -> Result<(Vec<Picture>, u64), Failure> {
    let failed = |e: std::io::Error| Failure::Work(format!("{}: {e}", path.display()));
    let (mut start, mut file) = (Vec::new(), File::open(path).map_err(failed)?);
    file.by_ref().take(8).read_to_end(&mut start).map_err(failed)?;
    match start[..] {
        [0x89, b'P', b'N', b'G', ..] => {
            let mut bytes = start;
            file.take(MOST).read_to_end(&mut bytes).map_err(failed)?;
            let pixels = png(&bytes, size, invert)
                .map_err(|what| Failure::Work(format!("{}: {what}", path.display())))?;
            return Ok((vec![Picture { number: 0, pixels, width: size.1 }], 1));
        }
        [0, 0, ..] | [0x1f, 0x8b, ..] => {}
        _ => {
            let path = path.display();
            return Err(Failure::Work(format!("{path}: expected an IDX file, gzipped or raw, or a PNG")));
        }
    }
    let (mut found, count) = idx(path, wanted, size, options)?;
    if invert {
        found.iter_mut().flat_map(|picture| &mut picture.pixels).for_each(|pixel| *pixel = 255 - *pixel);
    }
    Ok((found, count))
}

fn idx(
    path: &Path,
    wanted: &dyn Fn(u64) -> bool,
    size: (usize, usize),
    options: &Options,
) -> Result<(Vec<Picture>, u64), Failure> {
    let mut reader = Reader::open(path, options)?;
    let header = reader.header().clone();
    let found = header.record_elements();
    fits((size.0 * size.1) as u64, found, path)?;
    let width = header.dims.get(2).map_or(found as usize, |&w| w as usize).max(1);
    let mut pictures = Vec::new();
    // To the end, where checksum and length are verified.
    let (mut number, mut record): (u64, Vec<u8>) = (0, Vec::new());
    while reader.next_record(&mut record)? {
        if wanted(number) {
            pictures.push(Picture { number, pixels: record.clone(), width });
        }
        number += 1;
    }
    Ok((pictures, number))
}

/// A PNG as greys of the size that is asked for. Where it is transparent it is black, as the ground of digits is, also where ink is turned to white.
fn png(bytes: &[u8], size: (usize, usize), invert: bool) -> Result<Vec<u8>, String> {
    let limits = png::Limits { bytes: 4 * MOST as usize };
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), limits);
    // Words and profiles, which may unpack to anything.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(|e| e.to_string())?;
    let (width, height) = (reader.info().width, reader.info().height);
    if u64::from(width) * u64::from(height) > MOST {
        return Err(format!("expected at most {MOST} pixels, found {width} by {height}"));
    }
    let bytes = reader.output_buffer_size().ok_or("too large")?;
    let mut pixels = vec![0; bytes];
    let frame = reader.next_frame(&mut pixels).map_err(|e| e.to_string())?;
    let channels = frame.color_type.samples();
    let grey = |p: &[u8]| {
        let (colour, alpha) = match *p {
            [grey] => (u32::from(grey), 255),
            [grey, alpha] => (u32::from(grey), u32::from(alpha)),
            [r, g, b] => (luminance(r, g, b), 255),
            [r, g, b, alpha, ..] => (luminance(r, g, b), u32::from(alpha)),
            [] => (0, 0),
        };
        let colour = if invert { 255 - colour } else { colour };
        (colour * alpha / 255) as u8
    };
    let greys: Vec<u8> = pixels[..frame.buffer_size()].chunks_exact(channels).map(grey).collect();
    Ok(resized(&greys, (height as usize, width as usize), size))
}

/// By the weights of ITU-R BT.601, in thousandths.
fn luminance(r: u8, g: u8, b: u8) -> u32 {
    (299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b) + 500) / 1000
}

/// An image of another size, whose pixels are the means of the areas that they cover.
fn resized(pixels: &[u8], from: (usize, usize), to: (usize, usize)) -> Vec<u8> {
    if from == to {
        return pixels.to_vec();
    }
    // What part of each old pixel a new one covers along an axis.
    let covered = |n: usize, from: usize, to: usize| {
        let (start, end) = (n as f64 * from as f64 / to as f64, (n + 1) as f64 * from as f64 / to as f64);
        let share =
            move |old: usize| (end.min(old as f64 + 1.0) - start.max(old as f64)).max(0.0) / (end - start);
        (start.floor() as usize..(end.ceil() as usize).min(from)).map(move |old| (old, share(old)))
    };
    let mut found = Vec::with_capacity(to.0 * to.1);
    for row in 0..to.0 {
        for column in 0..to.1 {
            let sum: f64 = covered(row, from.0, to.0)
                .flat_map(|(i, down)| {
                    covered(column, from.1, to.1).map(move |(j, right)| (i, j, down * right))
                })
                .map(|(i, j, share)| share * f64::from(pixels[i * from.1 + j]))
                .sum();
            found.push(sum.round() as u8);
        }
    }
    found
}
