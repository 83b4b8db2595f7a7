//! NumPy's files, and weights that PyTorch trained.

use std::fs;
use std::path::{Path, PathBuf};

use ndarray::{Array2, array};
use wengert::{DType, Program, Tensor};
use wengert_nn::{Builder, Model, Recipe, Result, load_npy, load_npz, save_npy, save_npz};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/torch").join(name)
}

/// The logits of PyTorch, by its weights and of its images.
#[test]
fn networks_of_pytorch_give_its_logits() -> Result<()> {
    for (name, model, (height, width)) in
        [("mlp", "mlp:16-12-4", (4, 4)), ("lenet", "lenet", (12, 12)), ("gru", "gru:6", (5, 4))]
    {
        let recipe = Recipe { model: model.into(), height, width, classes: 4, ..Recipe::default() };
        let weights = load_npz(golden(&format!("{name}.npz")))?;
        let model = Model::with_weights(name, &recipe, &weights)?;
        let images = load_npy(golden(&format!("{name}-images.npy")))?;
        let due = load_npy(golden(&format!("{name}-logits.npy")))?;
        let program = Program::record(&model.states, |t| {
            let x = t.input(DType::U8, [5, height * width]);
            t.outputs(model.logits(t, x))
        })?;
        let rows =
            Array2::from_shape_vec((5, height * width), images.view::<u8>()?.iter().copied().collect());
        let mut workspace = program.workspace()?;
        let found = program.evaluate(&mut workspace, &model.states, (&rows.unwrap(),))?.tensor(0)?;
        let (found, due) = (found.to_f64(), due.to_f64());
        assert!(found.iter().any(|x| x.abs() > 0.05), "{name}: the logits are not zero");
        for (a, b) in found.iter().zip(&due) {
            assert!((a - b).abs() < 2e-6, "{name}: {a} is not {b}");
        }
        // The same weights with two rows changed places are another network.
        let mut turned = weights.clone();
        let first = model.states.name(model.parameters()[0]).unwrap();
        let state = turned.find(first).unwrap();
        let reversed: Vec<f32> = turned.get(state)?.to_f64().into_iter().rev().map(|x| x as f32).collect();
        turned.set(state, Tensor::new(turned.get(state)?.shape(), reversed)?)?;
        let other = Model::with_weights(name, &recipe, &turned)?;
        let again = program.evaluate(&mut workspace, &other.states, (&rows_of(&images, height * width),))?;
        assert!(again.tensor(0)?.to_f64().iter().zip(&due).any(|(a, b)| (a - b).abs() > 1e-3), "{name}");
    }
    Ok(())
}

fn rows_of(images: &Tensor, pixels: usize) -> Array2<u8> {
    let all = images.view::<u8>().unwrap().iter().copied().collect();
    Array2::from_shape_vec((5, pixels), all).unwrap()
}

/// All element types, an array whose first axis is the fastest, one without elements and one without axes, as NumPy writes them.
#[test]
fn arrays_of_numpy_are_read() -> Result<()> {
    let found = load_npz(golden("kinds.npz"))?;
    let get = |name: &str| found.get(found.find(name).unwrap()).unwrap().clone();
    assert_eq!(get("fortran"), Tensor::new([2, 3, 4], (0..24).map(f64::from).collect())?);
    assert_eq!(get("scalar"), Tensor::scalar(2.5));
    assert_eq!(get("u8"), Tensor::new([3], vec![0u8, 1, 2])?);
    assert_eq!(get("u32"), Tensor::new([3], vec![0u32, 1, 2])?);
    assert_eq!(get("i64"), Tensor::new([2], vec![-1i64, 1 << 40])?);
    assert_eq!(get("truth"), Tensor::new([2], vec![true, false])?);
    assert_eq!(get("empty").ty().to_string(), "f32[0, 3]");
    Ok(())
}

#[test]
fn what_is_written_is_read_again() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let (npy, npz) = (dir.path().join("a.npy"), dir.path().join("a.npz"));
    for tensor in [
        Tensor::new([2, 3], vec![1.5f32, -2.0, 3.0, f32::MIN_POSITIVE, 0.0, -0.0])?,
        Tensor::new([3], vec![f64::INFINITY, f64::NAN, -1e300])?,
        Tensor::new([1, 2, 2], vec![-1i64, i64::MAX, 0, 7])?,
        Tensor::new([2], vec![true, false])?,
        Tensor::scalar(3u32),
        Tensor::new([0, 4], Vec::<u8>::new())?,
    ] {
        save_npy(&npy, &tensor)?;
        let back = load_npy(&npy)?;
        assert_eq!((back.ty(), back.data().as_bytes()), (tensor.ty(), tensor.data().as_bytes()));
        // Elements begin where NumPy expects them.
        let bytes = fs::read(&npy).unwrap();
        assert_eq!((bytes.len() - tensor.ty().bytes()) % 64, 0);
    }
    let mut b = Builder::new(DType::F64, 1);
    b.states.add("a.weight", array![[1.0, 2.0]])?;
    b.states.add("b", 3.0)?;
    save_npz(&npz, &b.states)?;
    let back = load_npz(&npz)?;
    assert_eq!(back.get(back.find("a.weight").unwrap())?, b.states.get(b.states.find("a.weight").unwrap())?);
    let bytes = fs::read(&npz).unwrap();
    save_npz(&npz, &b.states)?;
    assert_eq!(fs::read(&npz).unwrap(), bytes, "no times are in it");
    Ok(())
}

#[test]
fn broken_arrays_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.npy");
    save_npy(&path, &Tensor::new([2, 2], vec![1.0f32, 2.0, 3.0, 4.0]).unwrap()).unwrap();
    let sound = fs::read(&path).unwrap();
    let error = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        load_npy(&path).unwrap_err().to_string()
    };
    for cut in [0, 5, 7, 9, 40, sound.len() - 1] {
        assert!(error(&sound[..cut]).contains("a.npy"), "cut at {cut}");
    }
    let header = String::from_utf8_lossy(&sound[10..128]).into_owned();
    for (from, to, due) in [
        ("<f4", ">f4", "expected <f4, <f8, |u1, <u4, <i8 or |b1, found >f4"),
        ("(2, 2)", "(2, 3)", "expected 24 bytes of elements, found 16"),
        ("(2, 2)", "(2,-2)", "shape is not understood"),
        ("False", "Maybe", "fortran_order is not understood"),
        ("shape", "shade", "expected shape in"),
    ] {
        let other = header.replace(from, to);
        assert_eq!(other.len(), header.len());
        let found = error(&[&sound[..10], other.as_bytes(), &sound[128..]].concat());
        assert!(found.contains(due), "{found}");
    }
    let huge = header
        .replace("(2, 2), }          ", "(4294967296, 4294967296), }")
        .chars()
        .take(118)
        .collect::<String>();
    assert!(error(&[&sound[..10], huge.as_bytes(), &sound[128..]].concat()).contains("a.npy"));
    assert!(load_npz(&path).unwrap_err().to_string().contains("no .npz file"));
    let missing = load_npz(dir.path().join("none")).err().unwrap().to_string();
    assert!(missing.contains("none"), "{missing}");
}
