//! Reading MNIST, against `gzip -dc` of the same files.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use wengert_idx::{Options, read};
use wengert_nn::file_names;

use crate::{Arguments, Outcome};

/// The best of several times, in turn: reading all four files into arrays, and unpacking them by gzip.
pub(crate) fn load(arguments: &Arguments) -> Outcome {
    let names = ["train", "t10k"].map(file_names);
    let files = || names.iter().flat_map(|(images, labels)| [images, labels]);
    let (mut ours, mut gzip) = (Duration::MAX, Duration::MAX);
    for _ in 0..arguments.iters.unwrap_or(5).max(1) {
        let clock = Instant::now();
        for name in files() {
            read::<u8>(arguments.data.join(format!("{name}.gz")), &Options::default())?;
        }
        ours = ours.min(clock.elapsed());
        let paths = files().map(|name| arguments.data.join(format!("{name}.gz")));
        let clock = Instant::now();
        let status = Command::new("gzip").arg("-dc").args(paths).stdout(Stdio::null()).status()?;
        gzip = gzip.min(clock.elapsed());
        if !status.success() {
            return Err("gzip -dc failed".into());
        }
    }
    Ok(json!({
        "seconds": ours.as_secs_f64(), "gzip_seconds": gzip.as_secs_f64(),
        "ratio": ours.as_secs_f64() / gzip.as_secs_f64()
    }))
}
