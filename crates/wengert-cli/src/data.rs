//! `wengert data`.

use std::io::Write;

use wengert_idx::{read_pair, summarise};

use crate::Failure;
use crate::args::{CheckArgs, InspectArgs, Sizes};

pub(crate) fn inspect(args: &InspectArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let s = summarise(&args.file, &args.limit.options())?;
    let number = |x: Option<f64>| x.map_or_else(|| "none".to_owned(), |x| x.to_string());
    writeln!(out, "type   {}", s.header.element)?;
    writeln!(out, "shape  {:?}", s.header.dims)?;
    writeln!(out, "bytes  {}", s.bytes)?;
    writeln!(out, "sum    {}", s.sum)?;
    writeln!(out, "min    {}", number(s.min))?;
    writeln!(out, "max    {}", number(s.max))?;
    writeln!(out, "mean   {}", number(s.mean()))?;
    if s.nans > 0 {
        writeln!(out, "NaN    {}", s.nans)?;
    }
    Ok(())
}

pub(crate) fn check(args: &CheckArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let pair = read_pair(&args.images, &args.labels, args.classes, &args.limit.options())?;
    let found = &pair.images.shape()[1..];
    if let Some(Sizes(expected)) = args.shape.as_ref().filter(|shape| shape.0 != found) {
        let file = args.images.display();
        return Err(Failure::Work(format!(
            "{file}: at byte 8: expected images of {expected:?}, found {found:?}"
        )));
    }
    writeln!(
        out,
        "{} images of {} {:?}, labels in 0..{}: they fit",
        pair.labels.len(),
        pair.images.element(),
        &pair.images.shape()[1..],
        args.classes
    )?;
    Ok(())
}
