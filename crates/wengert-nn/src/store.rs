//! Models on disk, in the safetensors format.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};
use serde_json::Value;
use wengert::{DType, States, Tensor};
use wengert_idx::replace_file;

use crate::error::{Error, Result};
use crate::files::read_limited;
use crate::model::Model;

/// Files larger than this are neither written nor read.
const MAX_BYTES: u64 = 1 << 32;

struct Stored<'a>(&'a Tensor, Vec<usize>);

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.ty().dtype {
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::U8 => Dtype::U8,
            DType::U32 => Dtype::U32,
            DType::I64 => Dtype::I64,
            DType::Bool => Dtype::BOOL,
        }
    }
    fn shape(&self) -> &[usize] {
        &self.1
    }
    fn data(&self) -> Cow<'_, [u8]> {
        // The format is little-endian; so is every machine this runs on but a few, and those swap.
        let bytes = self.0.data().as_bytes();
        if cfg!(target_endian = "little") {
            return Cow::Borrowed(bytes);
        }
        let width = self.0.ty().dtype.bytes();
        Cow::Owned(bytes.chunks_exact(width).flat_map(|c| c.iter().rev().copied()).collect())
    }
    fn data_len(&self) -> usize {
        self.0.ty().bytes()
    }
}

/// The key of the metadata that holds what [`seal`] makes: one only, for the format keeps them in no order.
const KEY: &str = "wengert";
/// What its value begins with, in front of the checksum.
const SEAL: &str = "{\"crc32\":\"";
/// The version of what this crate writes.
const VERSION: u32 = 1;

/// Version and checksum, and what is said of the training, as JSON with sorted keys.
fn seal(sum: u32, training: Option<&Value>) -> String {
    let training = training.map_or_else(String::new, |training| format!("\"training\":{training},"));
    format!("{SEAL}{sum:08x}\",{training}\"version\":{VERSION}}}")
}

/// Where the digits of the checksum lie in a file: in its header, in which quotes are escaped.
fn digits(bytes: &[u8]) -> Option<Range<usize>> {
    let before = format!("\"{KEY}\":\"{{\\\"crc32\\\":\\\"");
    let start = bytes.windows(before.len()).position(|w| w == before.as_bytes())? + before.len();
    (start + 8 <= bytes.len()).then_some(start..start + 8)
}

/// The CRC-32 of a file in which the digits of its own are zeros.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    match digits(bytes) {
        Some(digits) => {
            crc.update(&bytes[..digits.start]);
            crc.update(b"00000000");
            crc.update(&bytes[digits.end..]);
        }
        None => crc.update(bytes),
    }
    crc.sum()
}

/// Checks version and checksum, and returns what the metadata say; `None` of a file of others, which has none.
fn checked(bytes: &[u8]) -> Result<Option<Value>, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| format!("no safetensors file: {e}"))?;
    let entries = header.metadata().as_ref();
    let Some(found) = entries.and_then(|entries| entries.get(KEY)) else {
        // What this crate wrote, under a key that is damaged, is nothing foreign.
        let own = entries.is_some_and(|entries| entries.values().any(|value| value.starts_with(SEAL)));
        return if own { Err(format!("damaged: expected the key {KEY} in its metadata")) } else { Ok(None) };
    };
    let (sum, said) = (checksum(bytes), serde_json::from_str::<Value>(found).unwrap_or_default());
    let (start, end) = (format!("{{\"crc32\":\"{sum:08x}\","), format!("\"version\":{VERSION}}}"));
    if said.is_object() && found.starts_with(&start) && found.ends_with(&end) {
        return Ok(Some(said));
    }
    match said.get("version") {
        Some(version) if *version != VERSION => {
            Err(format!("expected version {VERSION} of the format, found {version}"))
        }
        _ => {
            let says = said.get("crc32").and_then(Value::as_str).unwrap_or("none");
            Err(format!("damaged: the checksum of its bytes is {sum:08x}, it says {says}"))
        }
    }
}

/// The names that stand more than once in the header, which the format forbids and its reader does not notice.
fn doubled(bytes: &[u8]) -> Option<String> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let header = std::str::from_utf8(bytes.get(8..8 + usize::try_from(length).ok()?)?).ok()?;
    let (mut depth, mut seen) = (0usize, HashSet::new());
    let mut rest = header;
    while let Some(at) = rest.find(['{', '}', '[', ']', '"']) {
        let (found, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = after;
        match found {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {
                let mut escaped = false;
                let end = after.find(|c| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                })?;
                let name = &after[..end];
                rest = &after[end + 1..];
                if depth == 1 && rest.trim_start().starts_with(':') && !seen.insert(name) {
                    return Some(name.to_owned());
                }
            }
        }
    }
    None
}

/// Writes all states of a store to a safetensors file, which is replaced whole or not at all. The same
/// states give the same bytes. The metadata hold a version and a checksum of the whole file.
///
/// ```no_run
/// # let states = wengert::States::new();
/// wengert_nn::save_states("final.safetensors", &states)?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn save_states(path: impl AsRef<Path>, states: &States) -> Result<()> {
    save(path.as_ref(), states, None)
}

/// The same with what is said of the training that the states are of: JSON in the metadata, under the checksum with all the rest.
///
/// ```no_run
/// # let states = wengert::States::new();
/// let training = serde_json::json!({ "seed": 7, "step": 600 });
/// wengert_nn::save_checkpoint("step-600.safetensors", &states, &training)?;
/// assert_eq!(wengert_nn::load_checkpoint("step-600.safetensors")?.1, training);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn save_checkpoint(path: impl AsRef<Path>, states: &States, training: &Value) -> Result<()> {
    let path = path.as_ref();
    // What could not be read again must not take the place of what can.
    for (_, name, tensor) in states.iter() {
        finite(name, tensor).map_err(|what| Error::Model(path.to_owned(), what))?;
    }
    save(path, states, Some(training))
}

/// An error where a number of a tensor is not finite.
fn finite(name: &str, tensor: &Tensor) -> Result<(), String> {
    match tensor.to_f64().into_iter().enumerate().find(|(_, x)| !x.is_finite()) {
        Some((i, found)) => Err(format!("{name}: expected finite numbers, found {found} at element {i}")),
        None => Ok(()),
    }
}

/// Reads what [`save_checkpoint`] wrote. An error where the file is damaged, or says nothing of a training.
///
/// ```no_run
/// let (states, training) = wengert_nn::load_checkpoint("step-600.safetensors")?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn load_checkpoint(path: impl AsRef<Path>) -> Result<(States, Value)> {
    let (states, said) = load(path.as_ref())?;
    let training = said.and_then(|mut said| said.get_mut("training").map(Value::take));
    let missing =
        || Error::Model(path.as_ref().to_owned(), "expected a checkpoint, found a model alone".into());
    Ok((states, training.ok_or_else(missing)?))
}

fn save(path: &Path, states: &States, training: Option<&Value>) -> Result<()> {
    let views: Vec<(String, Stored<'_>)> = states
        .iter()
        .map(|(_, name, tensor)| (name.to_owned(), Stored(tensor, tensor.shape().to_vec())))
        .collect();
    let seal = HashMap::from([(KEY.to_owned(), seal(0, training))]);
    let mut bytes = safetensors::serialize(views, Some(seal))
        .map_err(|e| Error::Model(path.to_owned(), e.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::Model(path.to_owned(), format!("larger than {MAX_BYTES} bytes")));
    }
    let sum = checksum(&bytes);
    let digits =
        digits(&bytes).ok_or_else(|| Error::Model(path.to_owned(), "no place for a checksum".into()))?;
    bytes[digits].copy_from_slice(format!("{sum:08x}").as_bytes());
    replace_file(path, |file| file.write_all(&bytes)).map_err(|e| Error::Io(path.to_owned(), e))
}

/// Reads a safetensors file of floats into a store, in the order of their names. An error where it is damaged, by its
/// checksum; files of others have none and are read as they are.
///
/// ```no_run
/// let states = wengert_nn::load_states("final.safetensors")?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn load_states(path: impl AsRef<Path>) -> Result<States> {
    Ok(load(path.as_ref())?.0)
}

/// The states of a file, and what its metadata say.
pub(crate) fn load(path: &Path) -> Result<(States, Option<Value>)> {
    let io = |e| Error::Io(path.to_owned(), e);
    let wrong = |what: String| Error::Model(path.to_owned(), what);
    let bytes = read_limited(File::open(path).map_err(io)?, MAX_BYTES).map_err(io)?;
    let said = checked(&bytes).map_err(wrong)?;
    if let Some(name) = doubled(&bytes) {
        return Err(wrong(format!("there are two tensors named {name}")));
    }
    let stored = SafeTensors::deserialize(&bytes).map_err(|e| wrong(format!("no safetensors file: {e}")))?;
    let mut views = stored.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let mut states = States::new();
    for (name, view) in views {
        // What PyTorch counts beside its running means is nothing that a model computes with.
        if name.ends_with(".num_batches_tracked") {
            continue;
        }
        let tensor = match view.dtype() {
            Dtype::F32 => {
                let numbers =
                    view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                Tensor::new(view.shape(), numbers.collect::<Vec<f32>>())
            }
            Dtype::F64 => {
                let numbers = view
                    .data()
                    .chunks_exact(8)
                    .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]));
                Tensor::new(view.shape(), numbers.collect::<Vec<f64>>())
            }
            other => return Err(wrong(format!("{name}: expected F32 or F64, found {other:?}"))),
        };
        let tensor = tensor.map_err(|e| wrong(format!("{name}: {e}")))?;
        finite(&name, &tensor).map_err(wrong)?;
        states.add(&name, tensor)?;
    }
    Ok((states, said))
}

/// Whether a safetensors file carries the checksum that [`save_states`] writes. An error where it cannot be read or is
/// damaged.
pub fn is_sealed(path: impl AsRef<Path>) -> Result<bool> {
    let path = path.as_ref();
    let bytes = std::fs::read(path).map_err(|e| Error::Io(path.to_owned(), e))?;
    let said = checked(&bytes).map_err(|what| Error::Model(path.to_owned(), what))?;
    Ok(said.is_some())
}

impl Model {
    /// Writes the parameters to a safetensors file.
    ///
    /// ```no_run
    /// let net = wengert_nn::TwoLayerNet::<f32>::new(784, 50, 10, 0)?;
    /// net.model().save("final.safetensors")?;
    /// # Ok::<(), wengert_nn::Error>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        save_states(path, &self.states)
    }
}
