//! The book's network on the real data, end to end.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::OnceLock;

use ndarray::{Array1, Array2, ArrayD, Axis, Slice};
use wengert::{DType, Program, Tensor, Var};
use wengert_nn::{
    BatchSampler, Config, Dataset, Event, Gradients, Labels, Model, Sampling, SoftmaxCrossEntropy,
    TwoLayerNet, train,
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

/// Parameters after some steps, as bytes.
fn trained(config: &Config) -> (f64, Vec<u8>) {
    let mut net = TwoLayerNet::<f32>::new(784, 50, 10, config.seed).unwrap();
    let summary = train(net.model_mut(), data(), config, |_| ControlFlow::Continue(())).unwrap();
    let states = &net.model().states;
    let bytes = states.iter().flat_map(|(_, _, tensor)| tensor.data().as_bytes().to_vec()).collect();
    (summary.test.accuracy, bytes)
}

#[test]
fn an_epoch_learns_and_has_the_same_bits_for_any_number_of_threads() {
    let config = Config { iterations: 600, seed: 1, ..Config::default() };
    let (accuracy, bytes) = trained(&config);
    assert!(accuracy > 0.88, "the book's network is past 0.9 after one epoch, this one at {accuracy}");
    for threads in [2, 3, 8] {
        let short = Config { iterations: 60, threads, ..config.clone() };
        let alone = Config { threads: 1, ..short.clone() };
        assert!(trained(&short) == trained(&alone), "{threads} threads");
    }
    assert!(trained(&config).1 == bytes, "a second run");
    assert!(trained(&Config { iterations: 600, seed: 2, ..Config::default() }).1 != bytes, "another seed");
}

#[test]
fn three_seeds_of_the_books_training_reach_its_accuracy() {
    for seed in 1..=3 {
        let (accuracy, _) = trained(&Config { seed, threads: 2, ..Config::default() });
        assert!(accuracy >= 0.965, "seed {seed}: {accuracy}");
    }
}

#[test]
fn a_training_that_diverges_is_an_error() {
    for (rate, iterations) in [(1e300, 1), (1e22, 1), (1e30, 200)] {
        let mut net = TwoLayerNet::<f32>::new(784, 5, 10, 0).unwrap();
        let config = Config { learning_rate: rate, iterations, ..Config::default() };
        let error = train(net.model_mut(), data(), &config, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(error.to_string().contains("learning rate"), "{error}");
    }
}

#[test]
fn shuffled_epochs_see_every_image_once() {
    let mut sampler = BatchSampler::new(250, 100, Sampling::Shuffled, 3);
    for _ in 0..3 {
        let mut seen: Vec<u32> = (0..3).flat_map(|_| sampler.next_batch().to_vec()).collect();
        assert_ne!(seen, (0..250).collect::<Vec<u32>>());
        seen.sort_unstable();
        assert_eq!(seen, (0..250).collect::<Vec<u32>>());
    }
    let mut replaced = BatchSampler::new(10, 1000, Sampling::WithReplacement, 3);
    assert!((0..10).all(|i| replaced.next_batch().contains(&i)));
    assert_eq!(BatchSampler::new(0, 5, Sampling::Shuffled, 0).next_batch(), &[] as &[u32]);
    // The last batch of an epoch, smaller than the others, trains too.
    let mut small = data().clone();
    small.train.images.slice_axis_inplace(Axis(0), Slice::from(..250));
    small.train.labels.slice_axis_inplace(Axis(0), Slice::from(..250));
    let mut net = TwoLayerNet::<f64>::new(784, 8, 10, 0).unwrap();
    let config = Config { iterations: 7, sampling: Sampling::Shuffled, ..Config::default() };
    let mut steps = 0;
    let summary = train(net.model_mut(), &small, &config, |event| {
        steps += usize::from(matches!(event, Event::Step { .. }));
        if steps < 5 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert_eq!((summary.unwrap().iterations, steps), (5, 5), "the callback ends the training");
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
    let back = Model::load_two_layer(&path).unwrap();
    assert_eq!((back.inputs, back.classes, back.dtype), (784, 10, DType::F32));
    for (_, name, tensor) in net.model().states.iter() {
        assert_eq!(Some(tensor), back.parameter(name));
    }
    let evaluated = |m: &Model| m.evaluate(&data().test, 2).unwrap();
    assert_eq!(evaluated(net.model()), evaluated(&back));
    let bytes = std::fs::read(&path).unwrap();
    for cut in [0, 1, 7, 8, 100, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..cut]).unwrap();
        assert!(Model::load_two_layer(&path).is_err(), "cut at {cut}");
    }
    let mut poisoned = TwoLayerNet::<f32>::new(784, 2, 10, 0).unwrap().into_model();
    let b1 = poisoned.states.find("b1").unwrap();
    poisoned.states.set(b1, ndarray::array![0f32, f32::NAN]).unwrap();
    poisoned.save(&path).unwrap();
    let error = Model::load_two_layer(&path).err().unwrap().to_string();
    assert!(error.ends_with("b1: expected finite numbers, found NaN at element 1"), "{error}");
    let mut others = wengert::States::new();
    others.add("W1", Array2::<f32>::zeros((3, 4))).unwrap();
    wengert_nn::save_states(&path, &others).unwrap();
    let error = Model::load_two_layer(&path).err().unwrap().to_string();
    assert!(error.ends_with("expected a tensor b1, found none"), "{error}");
}
