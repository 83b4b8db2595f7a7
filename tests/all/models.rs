//! Networks and what trains them, as a whole: they are built, they learn, and what is said of them holds.

use ndarray::{Array1, Array2};
use wengert::{DType, Program, States, Tensor, Var};
use wengert_nn::{
    Accumulation, AdaMax, Adam, Architecture, Average, BatchNorm, Builder, Decay, Dropout, Group, Init,
    Layer, Lion, ModelSummary, Momentum, Optimizer, Relu, Residual, Result, Stack, Training,
};

/// Bright squares in one of four corners, with noise: an image of 12 by 12 pixels a row.
fn corners(count: usize) -> (Array2<f32>, Array1<u32>) {
    let mut sampler = wengert::Sampler::new(5);
    let labels = Array1::from_shape_fn(count, |n| (n * 7 % 4) as u32);
    let images = Array2::from_shape_fn((count, 144), |(n, p)| {
        let (row, column) = (p / 12, p % 12);
        let corner = 2 * usize::from(row >= 6) + usize::from(column >= 6);
        0.3 * sampler.unit() as f32 + if corner == labels[n] as usize { 0.5 } else { 0.0 }
    });
    (images, labels)
}

/// Each learns within a few steps, with dropout and statistics of batches, and what it is in use agrees.
#[test]
fn every_architecture_learns() -> Result<()> {
    let (images, labels) = corners(64);
    for (name, parameters) in [
        ("two-layer:20", 2984),
        ("mlp:144-32-16-4", 5236),
        ("lenet", 15_116),
        ("conv", 60_836),
        ("gru:16", 1508),
    ] {
        let architecture: Architecture = name.parse()?;
        assert_eq!(architecture.to_string(), name);
        let mut b = Builder::new(DType::F32, 3);
        let stack = architecture.build(&mut b, (12, 12), 4, 0.1)?;
        let summary = ModelSummary::of(&stack, &b.states, DType::F32, [64, 144])?;
        assert_eq!(summary.parameters(), parameters, "{name}\n{summary}");
        assert_eq!(summary.layers.last().unwrap().output[..], [64, 4], "{name}");
        let mut states = b.states;
        let adam = Optimizer::new(&mut states, Adam::default(), [stack.parameters().into()])?;
        let step = Program::record(&states, |t| {
            let (x, y) = (t.input(DType::F32, [64, 144]), t.input(DType::U32, [64]));
            let (key, rate) = (t.input(DType::I64, []), t.input(DType::F64, []));
            let loss = stack.training(&Training::new(t, key), x).cross_entropy(y);
            adam.update(t, loss, rate)?;
            t.outputs(loss)
        })?;
        let mut workspace = step.workspace()?;
        let mut losses = Vec::new();
        for n in 0..60i64 {
            let rate = if name == "two-layer:20" { 0.02 } else { 0.01 };
            losses.push(step.run(&mut workspace, &mut states, (&images, &labels, &n, &rate))?.scalar(0)?);
        }
        assert!(losses[59] < 0.5 * losses[0], "{name}: {losses:?}");
        let used = Program::record(&states, |t| {
            let logits = stack.forward(t, t.input(DType::F32, [64, 144]));
            t.outputs(logits.argmax(1))
        })?;
        let found = used.evaluate(&mut used.workspace()?, &states, &images)?.slice::<i64>(0)?.to_vec();
        let right = found.iter().zip(&labels).filter(|(f, l)| **f == i64::from(**l)).count();
        assert!(right >= 60, "{name}: {right} of 64");
    }
    Ok(())
}

#[test]
fn names_of_models_are_told() {
    for wrong in
        ["mlp", "mlp:784", "mlp:784-x-10", "mlp:784-0-10", "conv:3", "lenet:5", "gru:1-2", "resnet", ""]
    {
        let error = wrong.parse::<Architecture>().unwrap_err().to_string();
        assert!(error.contains("expected a model such as two-layer") && error.contains(wrong), "{error}");
    }
    let mut b = Builder::new(DType::F32, 3);
    let mlp: Architecture = "mlp:784-10".parse().unwrap();
    let error = mlp.build(&mut b, (12, 12), 10, 0.0).err().unwrap().to_string();
    assert!(error.contains("144 pixels"), "{error}");
    assert!(Architecture::LeNet.build(&mut b, (8, 8), 10, 0.0).is_err(), "too small");
    // Names of states follow the layers.
    let mut b = Builder::new(DType::F32, 3);
    let stack = Architecture::Conv.build(&mut b, (12, 12), 4, 0.5).unwrap();
    let names = |states: Vec<wengert::State>| -> Vec<String> {
        states.into_iter().map(|s| b.states.name(s).unwrap().to_owned()).collect()
    };
    assert_eq!(names(stack.parameters())[..4], ["conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias"]);
    assert_eq!(names(stack.statistics())[..2], ["bn1.running_mean", "bn1.running_var"]);
}

/// A seed gives the same numbers, and the numbers are what their name says.
#[test]
fn initialisers_are_what_they_say() -> Result<()> {
    let draw = |init: Init, (rows, columns): (usize, usize)| -> Result<Vec<f64>> {
        let mut b = Builder::new(DType::F64, 7);
        let state = b.parameter("w", [rows, columns], init, (rows, columns))?;
        Ok(b.states.get(state)?.to_f64())
    };
    let moments = |x: &[f64]| {
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        (mean, (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt())
    };
    let (rows, columns) = (200, 300);
    let normal = [
        (Init::Normal(0.01), 0.01),
        (Init::He, (2.0f64 / 200.0).sqrt()),
        (Init::Glorot, (2.0f64 / 500.0).sqrt()),
        (Init::LeCun, (1.0f64 / 200.0).sqrt()),
        // The part of a normal distribution within two deviations has 0.7737 of its variance.
        (Init::TruncatedNormal(0.5), 0.5 * 0.7737f64.sqrt()),
    ];
    for (init, due) in normal {
        let (mean, deviation) = moments(&draw(init, (rows, columns))?);
        assert!(
            mean.abs() < 0.02 * due && (deviation / due - 1.0).abs() < 0.01,
            "{init:?}: {mean}, {deviation}"
        );
    }
    let uniform = [
        (Init::Uniform(0.3), 0.3),
        (Init::HeUniform, (6.0f64 / 200.0).sqrt()),
        (Init::GlorotUniform, (6.0f64 / 500.0).sqrt()),
        (Init::Fan, 1.0 / 200f64.sqrt()),
    ];
    for (init, due) in uniform {
        let x = draw(init, (rows, columns))?;
        let most = x.iter().fold(0.0f64, |most, x| most.max(x.abs()));
        assert!(most <= due && most > 0.999 * due, "{init:?}: {most} of {due}");
        assert!((moments(&x).1 - due / 3f64.sqrt()).abs() < 0.01 * due, "{init:?}");
    }
    assert!(draw(Init::TruncatedNormal(0.5), (rows, columns))?.iter().all(|x| x.abs() <= 1.0));
    assert_eq!(draw(Init::Constant(2.5), (2, 2))?, [2.5; 4]);
    for (rows, columns) in [(5, 9), (9, 5), (6, 6)] {
        let w =
            Array2::from_shape_vec((rows, columns), draw(Init::Orthogonal(2.0), (rows, columns))?).unwrap();
        let gram = if rows <= columns { w.dot(&w.t()) } else { w.t().dot(&w) };
        let error = (&gram - &(Array2::<f64>::eye(rows.min(columns)) * 4.0)).mapv(f64::abs);
        assert!(error.iter().all(|e| *e < 1e-13), "{gram}");
    }
    assert_eq!(draw(Init::He, (3, 4))?, draw(Init::He, (3, 4))?);
    Ok(())
}

/// What a program makes of two parameters by these groups: `w` and `b` after three steps, and the loss.
fn steps(groups: impl Fn([wengert::State; 2]) -> Vec<Group>) -> Result<[f64; 2]> {
    let mut states = States::new();
    let parameters = [states.add("w", 1.0)?, states.add("b", 2.0)?];
    let sgd = Optimizer::new(&mut states, Momentum::new(0.0), groups(parameters))?;
    let step = Program::record(&states, |t| {
        let [w, b] = parameters.map(|p| t.state(p));
        let loss = 3.0 * w + 5.0 * b;
        sgd.update(t, loss, t.constant(0.1))?;
        t.outputs(loss)
    })?;
    let mut workspace = step.workspace()?;
    for _ in 0..3 {
        step.run(&mut workspace, &mut states, ())?;
    }
    Ok([states.get(parameters[0])?.item()?, states.get(parameters[1])?.item()?])
}

/// Each group decays as it is told: by hand, in three steps.
#[test]
fn groups_decay_apart() -> Result<()> {
    let found =
        steps(|[w, b]| vec![Group { parameters: vec![w], decay: Decay::Coupled(0.5) }, vec![b].into()])?;
    let (mut w, mut b) = (1.0, 2.0);
    for _ in 0..3 {
        w -= 0.1 * (3.0 + 0.5 * w);
        b -= 0.1 * 5.0;
    }
    assert!((found[0] - w).abs() < 1e-15 && (found[1] - b).abs() < 1e-15, "{found:?} {w} {b}");
    let found =
        steps(|[w, b]| vec![Group { parameters: vec![b], decay: Decay::Decoupled(0.5) }, vec![w].into()])?;
    let (mut w, mut b) = (1.0, 2.0);
    for _ in 0..3 {
        w -= 0.1 * 3.0;
        b = b * (1.0 - 0.1 * 0.5) - 0.1 * 5.0;
    }
    assert!((found[0] - w).abs() < 1e-15 && (found[1] - b).abs() < 1e-15, "{found:?} {w} {b}");
    let twice = steps(|[w, _]| vec![vec![w].into(), vec![w].into()]).unwrap_err().to_string();
    assert!(twice.contains("w is in two groups"), "{twice}");
    Ok(())
}

/// The next value of a parameter is a row like any other: a learning rate has a gradient (hypergradients).
#[test]
fn a_step_has_derivatives() -> Result<()> {
    for (name, make) in [
        ("momentum", (|s, p| Optimizer::new(s, Momentum::new(0.9), [p])) as fn(&mut States, Group) -> _),
        ("adam", |s, p| Optimizer::new(s, Adam::default(), [p])),
        ("adamax", |s, p| Optimizer::new(s, AdaMax::default(), [p])),
        ("lion", |s, p| Optimizer::new(s, Lion::default(), [p])),
    ] {
        let mut states = States::new();
        let w = states.add("w", vec![1.0, -2.0, 0.5])?;
        let optimizer = make(&mut states, vec![w].into())?;
        assert_eq!(optimizer.name(), name);
        // The loss after a step, and its derivative by the rate.
        fn loss(w: Var<'_>) -> Var<'_> {
            (w.square() * 0.5 + w.sin()).sum(())
        }
        let program = Program::record(&states, |t| {
            let rate = t.input(DType::F64, []);
            let next = optimizer.update(t, loss(t.state(w)), rate)?[0];
            let after = loss(next);
            let slope = after.gradients([rate])[rate];
            t.outputs([after, slope])
        })?;
        let at = |rate: f64| -> Result<[f64; 2]> {
            let (mut workspace, mut states) = (program.workspace()?, states.clone());
            let found = program.run(&mut workspace, &mut states, &rate)?;
            Ok([found.scalar(0)?, found.scalar(1)?])
        };
        let (step, [_, slope]) = (1e-6, at(0.05)?);
        let difference = (at(0.05 + step)?[0] - at(0.05 - step)?[0]) / (2.0 * step);
        assert!((slope - difference).abs() < 1e-7 * slope.abs().max(1.0), "{name}: {slope} {difference}");
        assert!(slope < -0.1, "{name}: a step goes down");
    }
    Ok(())
}

/// Four micro-batches are one batch; the average follows.
#[test]
fn micro_batches_are_one_batch() -> Result<()> {
    let (images, labels) = corners(32);
    let build = || -> Result<(Stack, States)> {
        let mut b = Builder::new(DType::F64, 3);
        let stack = "mlp:144-8-4".parse::<Architecture>()?.build(&mut b, (12, 12), 4, 0.0)?;
        Ok((stack, b.states))
    };
    let whole = {
        let (stack, mut states) = build()?;
        let adam = Optimizer::new(&mut states, Adam::default(), [stack.parameters().into()])?;
        let average = Average::new(&mut states, &adam.parameters(), 0.75)?;
        let step = Program::record(&states, |t| {
            let (x, y) = (t.input(DType::F32, [32, 144]), t.input(DType::U32, [32]));
            let loss = stack.forward(t, x.cast(DType::F64)).cross_entropy(y);
            average.update(t, &adam.update(t, loss, t.constant(0.01))?)?;
            t.outputs(loss)
        })?;
        let mut workspace = step.workspace()?;
        let first = states.get(adam.parameters()[0])?.to_f64();
        step.run(&mut workspace, &mut states, (&images, &labels))?;
        let (now, kept) =
            (states.get(adam.parameters()[0])?.to_f64(), states.get(average.states()[0])?.to_f64());
        for ((a, b), kept) in first.iter().zip(&now).zip(kept) {
            assert!((0.75 * a + 0.25 * b - kept).abs() < 1e-15);
        }
        now
    };
    let (stack, mut states) = build()?;
    let adam = Optimizer::new(&mut states, Adam::default(), [stack.parameters().into()])?;
    let sums = Accumulation::new(&mut states, &adam.parameters())?;
    let add = Program::record(&states, |t| {
        let (x, y) = (t.input(DType::F32, [8, 144]), t.input(DType::U32, [8]));
        let loss = stack.forward(t, x.cast(DType::F64)).cross_entropy(y);
        sums.add(t, loss, 0.25);
        t.outputs(loss)
    })?;
    let apply = Program::record(&states, |t| {
        adam.apply(t, &sums.take(t), t.constant(0.01))?;
        t.outputs([])
    })?;
    let mut workspace = add.workspace()?;
    for n in 0..4 {
        let rows = ndarray::s![8 * n..8 * n + 8, ..];
        let (x, y) = (images.slice(rows), labels.slice(ndarray::s![8 * n..8 * n + 8]));
        add.run(&mut workspace, &mut states, (&x, &y))?;
    }
    apply.run(&mut apply.workspace()?, &mut states, ())?;
    let found = states.get(adam.parameters()[0])?.to_f64();
    // Adam divides by the root of the squares: small gradients count as large ones, and so does their rounding.
    assert!(found.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-9));
    let left = states.get(states.find("optim/fc1.weight/sum").unwrap())?.to_f64();
    assert!(left.iter().all(|x| *x == 0.0), "begun anew");
    Ok(())
}

/// Noise is another one for each layer and each key, and the same for the same; in use there is none, and a residual adds.
#[test]
fn noise_is_keyed() -> Result<()> {
    let stack = Stack::new().with("first", Dropout(0.5)).with("second", Dropout(0.5));
    let run = |key: i64| -> Result<Vec<f64>> {
        let t = wengert::Recorder::default();
        let training = Training::new(&t, t.constant(key));
        let x = t.full(DType::F64, [400], 1.0);
        Ok(stack.training(&training, x).value()?.to_f64())
    };
    let first = run(1)?;
    let kept = first.iter().filter(|x| **x == 4.0).count();
    assert!((60..140).contains(&kept), "a quarter passes two layers: {kept}");
    assert_eq!(first, run(1)?);
    assert_ne!(first, run(2)?);
    let t = wengert::Recorder::default();
    let x = t.constant(vec![-1.0, 2.0]);
    assert_eq!(stack.forward(&t, x).value()?.to_f64(), [-1.0, 2.0]);
    let residual = Residual(Stack::new().with("relu", Relu));
    assert_eq!(residual.forward(&t, x).value()?.to_f64(), [-1.0, 4.0]);
    Ok(())
}

/// What is kept of batches is the exponential mean of what they had, in any plan.
#[test]
fn statistics_of_batches_are_kept() -> Result<()> {
    let mut b = Builder::new(DType::F64, 1);
    let norm = b.within("bn", |b| BatchNorm::build(b, 3))?;
    let step = Program::record(&b.states, |t| {
        let training = Training::new(t, t.constant(0i64));
        t.outputs(norm.training(&training, t.input(DType::F64, [50, 3, 4])))
    })?;
    let mut sampler = wengert::Sampler::new(2);
    let (mut mean, mut variance) = (0.0, 1.0);
    let mut workspace = step.workspace()?;
    for _ in 0..5 {
        let x: Vec<f64> = (0..600).map(|_| 3.0 + 2.0 * sampler.unit()).collect();
        let own: Vec<f64> = x.iter().enumerate().filter(|(i, _)| i / 4 % 3 == 1).map(|(_, x)| *x).collect();
        let m = own.iter().sum::<f64>() / 200.0;
        let v = own.iter().map(|x| (x - m).powi(2)).sum::<f64>() / 199.0;
        (mean, variance) = (0.9 * mean + 0.1 * m, 0.9 * variance + 0.1 * v);
        step.run(&mut workspace, &mut b.states, &Tensor::new([50, 3, 4], x)?)?;
    }
    let kept = |name: &str| b.states.get(b.states.find(name).unwrap()).unwrap().to_f64()[1];
    assert!((kept("bn.running_mean") - mean).abs() < 1e-12);
    assert!((kept("bn.running_var") - variance).abs() < 1e-12);
    Ok(())
}

/// What does not fit is told and never passed over: gradients that are too few, of other shapes, or rates that are arrays.
#[test]
fn what_does_not_fit_an_optimiser_is_told() -> Result<()> {
    let mut states = States::new();
    let parameters = vec![states.add("w", vec![1.0, 2.0])?, states.add("b", 3.0)?];
    let adam = Optimizer::new(&mut states, Adam::default(), [parameters.clone().into()])?;
    let average = Average::new(&mut states, &parameters, 0.5)?;
    let refused = |record: &dyn for<'t> Fn(&'t wengert::Recorder) -> wengert::Result<()>| {
        let recorded = Program::record(&states, |t| {
            record(t)?;
            t.outputs([])
        });
        recorded.err().unwrap().to_string()
    };
    let few = refused(&|t| adam.apply(t, &[t.constant(vec![1.0, 2.0])], t.constant(0.1)).map(|_| ()));
    assert!(few.contains("expected 2 gradients, one for each parameter, found 1"), "{few}");
    let shape = refused(&|t| adam.apply(t, &[t.constant(1.0), t.constant(1.0)], t.constant(0.1)).map(|_| ()));
    assert!(shape.contains("expected a gradient of the shape [2] of its parameter, found []"), "{shape}");
    let rate = refused(&|t| {
        let loss = t.state(parameters[0]).sum(());
        adam.update(t, loss, t.constant(vec![0.1, 0.2])).map(|_| ())
    });
    assert!(rate.contains("expected one number as the learning rate"), "{rate}");
    let array = refused(&|t| adam.update(t, t.state(parameters[0]), t.constant(0.1)).map(|_| ()));
    assert!(array.contains("scalar") || array.contains("[2]"), "{array}");
    let averaged = refused(&|t| average.update(t, &[]));
    assert!(averaged.contains("expected 2 next values, found 0"), "{averaged}");
    // A rule, or a cell, alone begins where it would begin.
    let t = wengert::Recorder::default();
    let (weight, gradient) = (t.constant(vec![1.0, 2.0]), t.constant(vec![0.5, 0.5]));
    let at = wengert_nn::At { weight, gradient, rate: t.constant(0.1), step: t.constant(1.0) };
    let rules: [&dyn wengert_nn::Rule; 3] =
        [&Adam::default(), &AdaMax::default(), &wengert_nn::NAdam::default()];
    for rule in rules {
        let (next, kept) = rule.step(at, &[]);
        assert_eq!(kept.len(), rule.slots().len());
        assert!(next.value()?.to_f64()[0] < 1.0);
    }
    let mut b = Builder::new(DType::F64, 1);
    let kernel = b.parameter("kernel", [4, 3, 5, 5], Init::Orthogonal(1.0), (75, 100))?;
    let k = Array2::from_shape_vec((4, 75), b.states.get(kernel)?.to_f64()).unwrap();
    let error = (k.dot(&k.t()) - Array2::<f64>::eye(4)).mapv(f64::abs);
    assert!(error.iter().all(|e| *e < 1e-13), "the outputs of a kernel stand at right angles");
    Ok(())
}
