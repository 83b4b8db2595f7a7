//! The book's network on the real data, end to end.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ndarray::{Array1, Array2, ArrayD, Axis, Slice};
use wengert::{DType, Program, Tensor, Var};
use wengert_nn::{
    Dataset, Epochs, Gradients, Labels, Model, Progress, Recipe, Result, SoftmaxCrossEntropy, Subset,
    Trainer, TwoLayerNet,
};

fn data() -> &'static Dataset {
    static DATA: OnceLock<Dataset> = OnceLock::new();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/mnist");
    DATA.get_or_init(|| Dataset::load(dir, 10, 2, &Default::default()).unwrap())
}

fn batch(count: usize) -> (Array2<f64>, Array1<u32>) {
    let (images, labels) = data().train.part(0, count);
    (images.mapv(|p| f64::from(p) / 255.0), labels.to_owned())
}

/// Trains to the end.
fn trained_by(recipe: &Recipe, data: &Dataset, threads: usize) -> Result<Trainer> {
    let mut trainer = Trainer::new(recipe, data, threads)?;
    trainer.run(|_, _| Ok::<_, wengert_nn::Error>(ControlFlow::Continue(())))?;
    Ok(trainer)
}

/// The accuracy on the test set and the parameters after some steps, as bytes.
fn trained(iters: u64, seed: u64, threads: usize) -> (f64, Vec<u8>) {
    let recipe = Recipe { iters: Some(iters), seed, ..Recipe::default() };
    let model = trained_by(&recipe, data(), threads).unwrap().result().unwrap();
    let bytes = model.states.iter().flat_map(|(_, _, tensor)| tensor.data().as_bytes().to_vec()).collect();
    (model.evaluate(&data().test, 2).unwrap().accuracy, bytes)
}

#[test]
fn an_epoch_learns_and_has_the_same_bits_for_any_number_of_threads() {
    let (accuracy, bytes) = trained(600, 1, 1);
    assert!(accuracy > 0.88, "the book's network is past 0.9 after one epoch, this one at {accuracy}");
    let alone = trained(60, 1, 1);
    for threads in [2, 3, 8] {
        assert!(trained(60, 1, threads) == alone, "{threads} threads");
    }
    assert!(trained(600, 1, 1).1 == bytes, "a second run");
    assert!(trained(600, 2, 1).1 != bytes, "another seed");
}

#[test]
fn three_seeds_of_the_books_training_reach_its_accuracy() {
    for seed in 1..=3 {
        let (accuracy, _) = trained(10_000, seed, 2);
        assert!(accuracy >= 0.965, "seed {seed}: {accuracy}");
    }
}

#[test]
fn a_training_that_diverges_is_an_error() {
    for (lr, iters) in [(1e300, 1), (1e22, 1), (1e30, 200)] {
        let recipe = Recipe { lr, iters: Some(iters), ..Recipe::default() };
        let error = trained_by(&recipe, data(), 1).err().unwrap();
        assert!(error.to_string().contains("learning rate"), "{error}");
    }
}

/// The first images of MNIST.
fn few(count: usize) -> Dataset {
    let mut small = data().clone();
    let train = Arc::make_mut(&mut small.train);
    train.images.slice_axis_inplace(Axis(0), Slice::from(..count));
    train.labels.slice_axis_inplace(Axis(0), Slice::from(..count));
    small
}

#[test]
fn the_callback_ends_a_training_and_the_last_batch_is_smaller() {
    let recipe = Recipe { epochs: Some(3), iters: None, dtype: "f64".into(), ..Recipe::default() };
    let mut trainer = Trainer::new(&recipe, &few(250), 1).unwrap();
    assert_eq!((trainer.steps(), trainer.steps_of_an_epoch()), (9, 3));
    let (mut steps, mut epochs) = (0, Vec::new());
    let outcome = trainer.run(|trainer, progress| {
        match progress {
            Progress::Step { step, .. } => {
                steps += 1;
                assert_eq!((step, trainer.steps_made()), (steps, steps));
            }
            Progress::Evaluated(point) => epochs.push((point.step, point.epoch)),
        }
        Ok::<_, wengert_nn::Error>(if steps < 7 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    });
    outcome.unwrap();
    assert_eq!((steps, epochs), (7, vec![(3, 1.0), (6, 2.0)]));
}

/// Three steps of the trainer are those of a plain program, batch by batch: the last batch of the epoch, which is smaller, too.
#[test]
fn a_step_is_the_books() {
    let small = few(250);
    let recipe = Recipe { epochs: Some(1), iters: None, dtype: "f64".into(), seed: 4, ..Recipe::default() };
    let found = trained_by(&recipe, &small, 2).unwrap();
    let mut due = Trainer::new(&recipe, &small, 1).unwrap().result().unwrap();
    let epochs = Epochs { examples: 250, batch: 100, seed: 4, whole: false };
    let order = epochs.order(0);
    for batch in 0..3 {
        let rows: Vec<usize> = epochs.batch(&order, batch).iter().map(|&i| i as usize).collect();
        let x = small.train.images.select(Axis(0), &rows).mapv(|p| f64::from(p) / 255.0);
        let y = small.train.labels.select(Axis(0), &rows);
        let step = Program::record(&due.states, |t| {
            let logits = due.stack.forward(t, t.constant(x));
            let loss = logits.cross_entropy(t.constant(y));
            let w: Vec<Var<'_>> = due.parameters().into_iter().map(|w| t.state(w)).collect();
            let g = loss.gradients(w.clone());
            w.into_iter().for_each(|w| t.update(w, w - g[w] * 0.1));
            t.outputs([])
        });
        let step = step.unwrap();
        step.run(&mut step.workspace().unwrap(), &mut due.states, ()).unwrap();
    }
    let found = found.result().unwrap();
    for (_, name, value) in due.states.iter() {
        let other = found.parameter(name).unwrap();
        let apart = value.to_f64().iter().zip(other.to_f64()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-14, "{name}: {apart:e}");
    }
}

/// A split of its own decides which model is kept, when training ends, and how the rate falls.
#[test]
fn the_validation_split_decides() {
    let recipe = Recipe {
        model: "two-layer:30".into(),
        optimizer: "adam".into(),
        lr: 0.03,
        schedule: "plateau:0.5:1".into(),
        epochs: Some(60),
        iters: None,
        validation: 0.2,
        patience: 4,
        ..Recipe::default()
    };
    let small = few(500);
    let trainer = trained_by(&recipe, &small, 2).unwrap();
    assert!(trainer.steps_made() < trainer.steps(), "patience ends it");
    let history = trainer.history();
    let of = |point: &wengert_nn::Point| point.validation.unwrap();
    let best = trainer.best().unwrap();
    let due = history.iter().rev().max_by(|a, b| {
        let (a, b) = (of(a), of(b));
        a.accuracy.total_cmp(&b.accuracy).then(b.loss.total_cmp(&a.loss))
    });
    assert_eq!(best.step, due.unwrap().step);
    assert_eq!(history.len() - history.iter().position(|p| p.step == best.step).unwrap(), 5);
    assert!(history.iter().all(|point| point.test.is_none()), "the test set is not looked at");
    assert!(history.last().unwrap().lr < 0.03);
    // What is kept is the best model, not the last.
    let (_, validation) = Subset::divided(small.train.clone(), 0.2, 0).unwrap();
    assert_eq!(trainer.result().unwrap().evaluate(&validation, 1).unwrap().loss, best.validation.loss);
    assert_ne!(of(history.last().unwrap()).loss, best.validation.loss);
    for wrong in [
        Recipe { validation: 0.0, ..recipe.clone() },
        Recipe { patience: 0, validation: 0.0, ..recipe.clone() },
    ] {
        assert!(Trainer::new(&wrong, &small, 1).is_err(), "nothing to decide by");
    }
}

/// What a training is stopped at is what it goes on from, on other threads, by another program: with statistics of batches, a rate that follows a schedule or a plateau, patience, averages.
#[test]
fn a_training_taken_up_again_has_the_same_bits() {
    let lenet = Recipe {
        model: "lenet".into(),
        optimizer: "nadam".into(),
        lr: 0.002,
        schedule: "one-cycle".into(),
        epochs: Some(2),
        iters: None,
        batch: 50,
        dropout: 0.1,
        validation: 0.2,
        ema: 0.8,
        label_smoothing: 0.1,
        augment: "shift:1,flip".into(),
        normalize: true,
        evaluate_every: 3,
        ..Recipe::default()
    };
    taken_up_again(&lenet, &few(400), &[1, 7, 8, 9]);
    let conv = Recipe {
        model: "conv".into(),
        optimizer: "momentum".into(),
        lr: 0.2,
        schedule: "plateau:0.5:1".into(),
        epochs: Some(12),
        patience: 5,
        batch: 30,
        dropout: 0.0,
        augment: "none".into(),
        evaluate_every: 1,
        ..lenet
    };
    taken_up_again(&conv, &few(80), &[2, 5, 7]);
}

fn taken_up_again(recipe: &Recipe, small: &Dataset, stops: &[u64]) {
    let dir = tempfile::tempdir().unwrap();
    let whole = trained_by(recipe, small, 1).unwrap();
    if recipe.schedule == "one-cycle" {
        let due = wengert_nn::Schedule::OneCycle { steps: whole.steps() as usize };
        for point in whole.history() {
            assert_eq!(point.lr, recipe.lr * due.factor(point.step as usize - 1), "step {}", point.step);
        }
    } else {
        let rates: Vec<f64> = whole.history().iter().map(|point| point.lr).collect();
        assert!(rates.windows(2).any(|pair| pair[1] == pair[0] / 2.0), "it falls on a plateau: {rates:?}");
    }
    for &stop in stops {
        let mut first = Trainer::new(recipe, small, 2).unwrap();
        first
            .run(|trainer, progress| {
                let step = matches!(progress, Progress::Step { .. });
                let go = trainer.steps_made() < stop || !step;
                Ok::<_, wengert_nn::Error>(if go {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })
            .unwrap();
        let path = dir.path().join("a.safetensors");
        first.save(&path).unwrap();
        let mut second = Trainer::new(recipe, small, 1).unwrap();
        second.resume(&path).unwrap();
        assert_eq!(second.steps_made(), stop);
        second.run(|_, _| Ok::<_, wengert_nn::Error>(ControlFlow::Continue(()))).unwrap();
        assert_eq!(second.history(), whole.history(), "stopped at {stop}");
        let (a, b) = (second.result().unwrap(), whole.result().unwrap());
        for (_, name, value) in b.states.iter() {
            assert_eq!(a.parameter(name).unwrap().data().as_bytes(), value.data().as_bytes(), "{name}");
        }
        // A checkpoint is a model too: what the training would come to if it ended there.
        let (model, due) = (Model::load(&path).unwrap(), first.result().unwrap());
        for state in due.tensors() {
            let name = due.states.name(state).unwrap();
            assert_eq!(model.parameter(name), due.parameter(name), "{name}");
        }
        let other = Recipe { lr: 0.003, ..recipe.clone() };
        let mut third = Trainer::new(&other, small, 1).unwrap();
        let before = third.model().states.clone();
        let error = third.resume(&path).unwrap_err().to_string();
        assert!(
            error.contains(&format!("lr was {} in this training, and is 0.003 now", recipe.lr)),
            "{error}"
        );
        assert!(before.iter().all(|(state, _, value)| third.model().states.get(state).unwrap() == value));
        assert_eq!(third.steps_made(), 0);
    }
}

/// Each setting that makes no sense is told by its name.
#[test]
fn recipes_that_make_no_sense() {
    let book = Recipe::default;
    for (recipe, due) in [
        (Recipe { model: "mlp".into(), ..book() }, "model: "),
        (Recipe { dtype: "f16".into(), ..book() }, "dtype: "),
        (Recipe { optimizer: "sgdd".into(), ..book() }, "optimizer: "),
        (Recipe { lr: f64::NAN, ..book() }, "lr: "),
        (Recipe { schedule: "step:0:0.1".into(), ..book() }, "schedule: "),
        (Recipe { schedule: "cosine:3".into(), ..book() }, "schedule: "),
        (Recipe { epochs: Some(1), ..book() }, "either epochs or iters"),
        (Recipe { iters: Some(0), ..book() }, "at least one"),
        (Recipe { batch: 0, ..book() }, "batch: "),
        (Recipe { weight_decay: -1.0, ..book() }, "weight-decay: "),
        (Recipe { dropout: 1.0, ..book() }, "dropout: "),
        (Recipe { clip: "norm:0".into(), ..book() }, "clip: "),
        (Recipe { augment: "shift".into(), ..book() }, "augment: "),
        (Recipe { augment: "flip:1".into(), ..book() }, "augment: "),
        (Recipe { augment: "shear:1".into(), ..book() }, "augment: "),
        (Recipe { dropout: 0.5, ..book() }, "dropout: the model two-layer has none"),
        (Recipe { momentum: 0.5, ..book() }, "momentum: the rule sgd has none"),
        (Recipe { classes: 5000, ..book() }, "classes: expected 1 to 4096"),
        (Recipe { warm_up: u64::MAX, ..book() }, "warm-up: "),
        (Recipe { model: "two-layer:60000".into(), height: 1024, width: 1024, ..book() }, "(1024, 1024)"),
        (Recipe { ema: 1.5, ..book() }, "ema: "),
        (Recipe { validation: -0.1, ..book() }, "validation: "),
        (Recipe { patience: 3, ..book() }, "patience"),
        (Recipe { width: 27, ..book() }, "expected images of (28, 27) pixels, found (28, 28)"),
        (Recipe { classes: 9, ..book() }, "the label 9 of 9 classes"),
    ] {
        match Trainer::new(&recipe, &few(20), 1) {
            Ok(_) => assert_eq!(due, "", "{recipe:?}"),
            Err(error) => assert!(!due.is_empty() && error.to_string().contains(due), "{error}"),
        }
    }
}

fn worst(a: &Gradients<f64>, b: &Gradients<f64>) -> f64 {
    let of = |name: &String| (&a[name] - &b[name]).mapv(f64::abs).fold(0.0, |m: f64, &x| m.max(x));
    a.keys().map(of).fold(0.0, f64::max)
}

#[test]
fn backpropagation_is_the_numerical_gradient() {
    let net = TwoLayerNet::<f64>::new(784, 4, 10, 5).unwrap();
    let (x, classes) = batch(3);
    let one_hot = Array2::from_shape_fn((3, 10), |(i, c)| f64::from(u8::from(classes[i] as usize == c)));
    for labels in [Labels::Classes(&classes), Labels::OneHot(&one_hot)] {
        let by_tape = net.gradient(&x, labels).unwrap();
        assert_eq!(by_tape.keys().collect::<Vec<_>>(), ["W1", "W2", "b1", "b2"]);
        assert!(by_tape["W1"].iter().any(|g| g.abs() > 1e-6), "the gradient is not zero");
        assert!(worst(&by_tape, &net.numerical_gradient(&x, labels).unwrap()) < 1e-9);
    }
    assert_eq!(
        net.accuracy(&x, Labels::Classes(&classes)).unwrap(),
        net.accuracy(&x, Labels::OneHot(&one_hot)).unwrap()
    );
    let narrow = TwoLayerNet::<f32>::new(784, 4, 10, 5).unwrap();
    let by_f32 = narrow.gradient(&x.mapv(|x| x as f32), Labels::Classes(&classes)).unwrap();
    let widened: Gradients<f64> = by_f32.iter().map(|(n, g)| (n.clone(), g.mapv(f64::from))).collect();
    assert!(worst(&net.gradient(&x, Labels::Classes(&classes)).unwrap(), &widened) < 1e-6);
    assert!(net.loss(&x, Labels::Classes(&ndarray::array![1, 2, 10])).is_err(), "ten is no class");
    assert!(net.loss(&x, Labels::Classes(&ndarray::array![1, 2])).is_err(), "two labels for three rows");
    assert!(net.predict(&Array2::<f64>::zeros((1, 783))).is_err());
}

/// Gradients by all parameters, or the Hessian of the loss times `v`, at parameters moved by `h·v`.
fn at(net: &TwoLayerNet<f64>, v: &[ArrayD<f64>], h: f64, second: bool) -> Vec<Tensor> {
    let (x, classes) = batch(5);
    let model = net.model();
    let mut states = model.states.clone();
    for (&p, v) in model.parameters().iter().zip(v) {
        let moved = states.get(p).unwrap().view::<f64>().unwrap().to_owned() + v * h;
        states.set(p, moved).unwrap();
    }
    let program = Program::record(&states, |t| {
        let logits = model.stack.forward(t, t.input(DType::F64, [5, 784]));
        let loss = SoftmaxCrossEntropy.loss(t, logits, t.input(DType::U32, [5]));
        let w: Vec<Var<'_>> = model.parameters().iter().map(|&p| t.state(p)).collect();
        let g: Vec<Var<'_>> = loss.gradients(w.iter().copied()).iter().map(|(_, g)| g).collect();
        if !second {
            return t.outputs(g);
        }
        let along: Vec<_> = w.iter().zip(v).map(|(&w, v)| (w, t.constant(v.clone()))).collect();
        t.outputs(t.jvp(&g, &along))
    });
    let program = program.unwrap();
    let mut space = program.workspace().unwrap();
    let results = program.evaluate(&mut space, &states, (&x, &classes)).unwrap();
    (0..4).map(|i| results.tensor(i).unwrap()).collect()
}

#[test]
fn the_hessian_vector_product_is_the_difference_of_gradients() {
    let net = TwoLayerNet::<f64>::new(784, 6, 10, 2).unwrap();
    let mut sampler = wengert::Sampler::new(9);
    let shapes = net.model().parameters().into_iter().map(|p| net.model().states.get(p).unwrap().shape());
    let v: Vec<ArrayD<f64>> =
        shapes.map(|s| ArrayD::from_shape_simple_fn(s.to_vec(), || sampler.unit() - 0.5)).collect();
    let product = at(&net, &v, 0.0, true);
    // Small enough a step that no unit of the ReLU changes sides.
    let h = 1e-6;
    let (above, below) = (at(&net, &v, h, false), at(&net, &v, -h, false));
    let mut largest: f64 = 0.0;
    for ((hv, a), b) in product.iter().zip(&above).zip(&below) {
        for ((hv, a), b) in hv.to_f64().iter().zip(a.to_f64()).zip(b.to_f64()) {
            largest = largest.max(hv.abs());
            assert!((hv - (a - b) / (2.0 * h)).abs() < 1e-7, "{hv} is not {}", (a - b) / (2.0 * h));
        }
    }
    assert!(largest > 1e-2, "the product is not zero");
}

#[test]
fn models_are_stored_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.safetensors");
    let net = TwoLayerNet::<f32>::new(784, 7, 10, 11).unwrap();
    net.model().save(&path).unwrap();
    let back = Model::load(&path).unwrap();
    assert_eq!((back.inputs, back.classes, back.dtype), (784, 10, DType::F32));
    for (_, name, tensor) in net.model().states.iter() {
        assert_eq!(Some(tensor), back.parameter(name));
    }
    let evaluated = |m: &Model| m.evaluate(&data().test, 2).unwrap();
    assert_eq!(evaluated(net.model()), evaluated(&back));
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 1, 7, 8, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Model::load(&path).is_err(), "cut at {cut}");
    }
    let mut poisoned = TwoLayerNet::<f32>::new(784, 2, 10, 0).unwrap().into_model();
    let b1 = poisoned.states.find("b1").unwrap();
    poisoned.states.set(b1, ndarray::array![0f32, f32::NAN]).unwrap();
    poisoned.save(&path).unwrap();
    let error = Model::load(&path).err().unwrap().to_string();
    assert!(error.ends_with("b1: expected finite numbers, found NaN at element 1"), "{error}");
    let mut others = wengert::States::new();
    others.add("W1", Array2::<f32>::zeros((3, 4))).unwrap();
    wengert_nn::save_states(&path, &others).unwrap();
    let error = Model::load(&path).err().unwrap().to_string();
    assert!(error.ends_with("expected a tensor b1, found none"), "{error}");
}
