//! Checkpoints: states and what is said of their training, under one checksum.

use std::fs;

use serde_json::json;
use wengert::{DType, Program};
use wengert_nn::{
    Adam, Builder, Init, Model, Optimizer, Recipe, Result, is_sealed, load_checkpoint, load_states,
    save_checkpoint, save_states,
};

/// A model, its optimiser and what is kept for it come back bit for bit, with floats of the metadata, and go on as if nothing had been.
#[test]
fn a_training_goes_on_from_a_checkpoint() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let mut b = Builder::new(DType::F32, 7);
    let w = b.within("fc", |b| b.parameter("weight", [30, 4], Init::He, (30, 4)))?;
    let adam = Optimizer::new(&mut b.states, Adam::default(), [vec![w].into()])?;
    let mut states = b.states;
    let fresh = states.clone();
    let step = Program::record(&states, |t| {
        let loss = (t.state(w).sin() + 0.1).square().sum(());
        adam.update(t, loss, t.constant(0.01))?;
        t.outputs(loss)
    })?;
    let mut workspace = step.workspace()?;
    let mut run = |states: &mut wengert::States, steps: usize| -> Result<f64> {
        let mut loss = f64::NAN;
        for _ in 0..steps {
            loss = step.run(&mut workspace, states, ())?.scalar(0)?;
        }
        Ok(loss)
    };
    run(&mut states, 10)?;
    let training = json!({ "step": 10, "losses": [0.1 + 0.2, 1e-310, 1.0 / 3.0], "name": "a \"b\" \\ é" });
    let path = dir.path().join("step-10.safetensors");
    save_checkpoint(&path, &states, &training)?;
    assert!(is_sealed(&path)?);
    let due = run(&mut states, 10)?;
    let (kept, said) = load_checkpoint(&path)?;
    assert_eq!(said, training);
    let mut again = fresh;
    for (_, name, value) in kept.iter() {
        let state = again.find(name).unwrap_or_else(|| panic!("no state {name}"));
        again.set(state, value.clone())?;
    }
    assert_eq!(kept.iter().count(), again.iter().count());
    assert_eq!(run(&mut again, 10)?.to_bits(), due.to_bits());
    for (state, name, value) in states.iter() {
        assert_eq!(again.get(state)?.data().as_bytes(), value.data().as_bytes(), "{name}");
    }
    // The same states and words are the same bytes.
    let twice = dir.path().join("twice.safetensors");
    save_checkpoint(&twice, &kept, &training)?;
    assert_eq!(fs::read(&path).unwrap(), fs::read(&twice).unwrap());
    Ok(())
}

/// Whatever byte is another, also one of the metadata, it is noticed.
#[test]
fn every_byte_of_a_checkpoint_counts() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let mut states = wengert::States::new();
    states.add("w", vec![1.0, 2.0])?;
    let path = dir.path().join("a.safetensors");
    save_checkpoint(&path, &states, &json!({ "epoch": 3, "rate": 0.125 }))?;
    let bytes = fs::read(&path).unwrap();
    let changed = dir.path().join("b.safetensors");
    for at in 0..bytes.len() {
        for change in [1, 0x20, 0x80] {
            let mut other = bytes.clone();
            other[at] ^= change;
            fs::write(&changed, &other).unwrap();
            match load_checkpoint(&changed) {
                Err(e) => assert!(e.to_string().contains("b.safetensors"), "{at}: {e}"),
                Ok(_) => panic!("byte {at} of {}", bytes.len()),
            }
        }
    }
    for len in 0..bytes.len() {
        fs::write(&changed, &bytes[..len]).unwrap();
        assert!(load_checkpoint(&changed).is_err(), "{len} bytes");
    }
    // A model alone is none, and a checkpoint is a model.
    save_states(&changed, &states)?;
    let alone = load_checkpoint(&changed).unwrap_err().to_string();
    assert!(alone.contains("expected a checkpoint"), "{alone}");
    assert_eq!(load_states(&path)?.iter().count(), 1);
    Ok(())
}

/// A small file asks for no large network, and a forged one is refused for what it says.
#[test]
fn files_that_ask_for_too_much_are_refused() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.safetensors");
    let mut states = wengert::States::new();
    states.add("fc1.weight", vec![1.0f32, 2.0])?;
    for (recipe, due) in [
        (json!({ "model": "mlp:65536-65536-10", "height": 256, "width": 256 }), "numbers that are left"),
        (json!({ "model": "gru:65536" }), "numbers that are left"),
        (json!({ "model": "gru:2", "height": 4096, "width": 1 }), "too high for gru"),
        (json!({ "model": "conv", "height": 65536, "width": 65536 }), "at most 1048576 pixels"),
        (json!({ "model": "two-layer:1", "classes": 100_000 }), "classes: expected 1 to 4096"),
        (json!({ "model": "two-layer:1", "depth": 3 }), "unknown field `depth`"),
        (json!({ "model": 7 }), "invalid type"),
    ] {
        save_checkpoint(&path, &states, &json!({ "kind": "model", "recipe": recipe }))?;
        let error = Model::load(&path).err().unwrap().to_string();
        assert!(error.contains("a.safetensors") && error.contains(due), "{error}");
    }
    let error = Model::new(&Recipe { model: "mlp:784-60000-60000-10".into(), ..Recipe::default() });
    assert!(error.err().unwrap().to_string().contains("numbers that are left"));
    // What could not be read again is not written, and takes nothing's place.
    let before = fs::read(&path).unwrap();
    states.add("b", vec![f32::INFINITY])?;
    let error = save_checkpoint(&path, &states, &json!({})).unwrap_err().to_string();
    assert!(error.contains("b: expected finite numbers, found inf at element 0"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    Ok(())
}

/// A model of a plain network is read from anybody; ours with a byte changed is not.
#[test]
fn every_byte_of_a_model_counts() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let (path, changed) = (dir.path().join("a.safetensors"), dir.path().join("b.safetensors"));
    wengert_nn::TwoLayerNet::<f32>::new(1, 1, 2, 3)?.model().save(&path)?;
    let bytes = fs::read(&path).unwrap();
    assert!(Model::load(&path).is_ok());
    for at in 0..bytes.len() {
        for change in [1, 0x20, 0x80] {
            let mut other = bytes.clone();
            other[at] ^= change;
            fs::write(&changed, &other).unwrap();
            assert!(Model::load(&changed).is_err(), "byte {at} of {}", bytes.len());
        }
    }
    Ok(())
}
