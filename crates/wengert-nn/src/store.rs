//! Models on disk, in the safetensors format.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};
use wengert::{DType, States, Tensor};
use wengert_idx::replace_file;

use crate::error::{Error, Result};
use crate::layers::Affine;
use crate::model::Model;
use crate::two_layer::stack;

/// A confusion matrix of so many classes is still small.
const MAX_CLASSES: usize = 4096;

/// Files larger than this are not read: a model of this crate is far smaller.
const MAX_BYTES: u64 = 1 << 30;

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

/// Writes all states of a store to a safetensors file, which is replaced whole or not at all. The same
/// states give the same bytes.
///
/// ```no_run
/// # let states = wengert::States::new();
/// wengert_nn::save_states("final.safetensors", &states)?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn save_states(path: impl AsRef<Path>, states: &States) -> Result<()> {
    let path = path.as_ref();
    let views: Vec<(String, Stored<'_>)> = states
        .iter()
        .map(|(_, name, tensor)| (name.to_owned(), Stored(tensor, tensor.shape().to_vec())))
        .collect();
    let bytes = safetensors::serialize(views, None::<HashMap<String, String>>)
        .map_err(|e| Error::Model(path.to_owned(), e.to_string()))?;
    replace_file(path, |file| file.write_all(&bytes)).map_err(|e| Error::Io(path.to_owned(), e))
}

/// Reads a safetensors file of floats into a store, in the order of their names.
///
/// ```no_run
/// let states = wengert_nn::load_states("final.safetensors")?;
/// # Ok::<(), wengert_nn::Error>(())
/// ```
pub fn load_states(path: impl AsRef<Path>) -> Result<States> {
    let path = path.as_ref();
    let io = |e| Error::Io(path.to_owned(), e);
    let wrong = |what: String| Error::Model(path.to_owned(), what);
    let file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(wrong(format!("larger than {MAX_BYTES} bytes")));
    }
    let stored = SafeTensors::deserialize(&bytes).map_err(|e| wrong(format!("no safetensors file: {e}")))?;
    let mut views = stored.tensors();
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let mut states = States::new();
    for (name, view) in views {
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
        if let Some(i) = tensor.to_f64().iter().position(|x| !x.is_finite()) {
            let found = tensor.data().f64_at(i).unwrap_or(f64::NAN);
            return Err(wrong(format!("{name}: expected finite numbers, found {found} at element {i}")));
        }
        states.add(&name, tensor)?;
    }
    Ok(states)
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

    /// Reads the book's network: `W1 b1 W2 b2` of one float type, in shapes that fit each other. The
    /// error names what was expected and found.
    ///
    /// ```no_run
    /// let model = wengert_nn::Model::load_two_layer("final.safetensors")?;
    /// println!("{} pixels, {} classes", model.inputs, model.classes);
    /// # Ok::<(), wengert_nn::Error>(())
    /// ```
    pub fn load_two_layer(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let loaded = load_states(path)?;
        let wrong = |what: String| Error::Model(path.to_owned(), what);
        let find = |name: &str| {
            let state =
                loaded.find(name).ok_or_else(|| wrong(format!("expected a tensor {name}, found none")))?;
            Ok::<Tensor, Error>(loaded.get(state)?.clone())
        };
        let (w1, b1, w2, b2) = (find("W1")?, find("b1")?, find("W2")?, find("b2")?);
        let (&[inputs, hidden], &[_, classes]) = (&w1.shape()[..], &w2.shape()[..]) else {
            return Err(wrong(format!(
                "expected W1 and W2 to be matrices, found {} and {}",
                w1.ty(),
                w2.ty()
            )));
        };
        let dtype = w1.ty().dtype;
        let expected = [
            ("W1", &w1, vec![inputs, hidden]),
            ("b1", &b1, vec![hidden]),
            ("W2", &w2, vec![hidden, classes]),
            ("b2", &b2, vec![classes]),
        ];
        for (name, tensor, shape) in expected {
            if tensor.shape()[..] != shape[..] || tensor.ty().dtype != dtype {
                return Err(wrong(format!("expected {name} to be {dtype}{shape:?}, found {}", tensor.ty())));
            }
        }
        if inputs == 0 || hidden == 0 || !(1..=MAX_CLASSES).contains(&classes) {
            let found = format!("{} and {}", w1.ty(), w2.ty());
            return Err(wrong(format!(
                "expected sizes above zero and at most {MAX_CLASSES} classes, found {found}"
            )));
        }
        let mut states = States::new();
        let first = Affine::of(&mut states, ("W1", "b1"), w1, b1)?;
        let second = Affine::of(&mut states, ("W2", "b2"), w2, b2)?;
        Ok(Self { states, stack: stack(first, second), dtype, inputs, classes })
    }
}
