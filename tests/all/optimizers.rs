//! Update rules against trajectories that PyTorch computed: `tests/golden/optimizers.json`.

use serde_json::Value;
use wengert::{DType, Program, States, Tensor};
use wengert_nn::{
    AdaDelta, AdaGrad, AdaMax, Adam, Clip, Decay, Group, Lion, Momentum, NAdam, Optimizer, RAdam, RmsProp,
    Rule, Schedule,
};

/// The numbers of nested lists.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

/// How a case is made: the rule, how large parameters are kept small, how gradients are, and by what the rate changes.
struct Case {
    rule: Box<dyn Fn() -> Box<dyn Rule>>,
    decay: Decay,
    clip: Option<Clip>,
    rate: f64,
    schedule: Schedule,
}

fn case(rule: impl Rule + Clone + 'static, rate: f64) -> Case {
    let rule = Box::new(move || Box::new(rule.clone()) as Box<dyn Rule>);
    Case { rule, decay: Decay::None, clip: None, rate, schedule: Schedule::Constant }
}

fn named(name: &str) -> Case {
    let (adam, sgd) = (|| case(Adam::default(), 0.01), || case(Momentum::new(0.0), 0.1));
    match name {
        "sgd" => sgd(),
        "sgd_weight_decay" => Case { decay: Decay::Coupled(0.01), ..sgd() },
        "momentum" => case(Momentum::new(0.9), 0.05),
        "nesterov" => case(Momentum::nesterov(0.9), 0.05),
        "adagrad" => case(AdaGrad::default(), 0.1),
        "rmsprop" => case(RmsProp::default(), 0.01),
        "adadelta" => case(AdaDelta::default(), 1.0),
        "adam" => adam(),
        "adam_l2" => Case { decay: Decay::Coupled(0.1), ..adam() },
        "amsgrad" => case(Adam { amsgrad: true, ..Adam::default() }, 0.01),
        "adamw" => Case { decay: Decay::Decoupled(0.1), ..adam() },
        "nadam" => case(NAdam::default(), 0.002),
        "radam" => case(RAdam::default(), 0.01),
        "adamax" => case(AdaMax::default(), 0.01),
        "adam_clip_norm" => Case { clip: Some(Clip::Norm(1.0)), ..adam() },
        "sgd_clip_value" => Case { clip: Some(Clip::Value(0.5)), ..sgd() },
        "sgd_cosine" => Case { schedule: Schedule::Cosine { steps: 25 }, ..sgd() },
        "sgd_step" => Case { schedule: Schedule::Step { every: 7, factor: 0.5 }, ..sgd() },
        "sgd_one_cycle" => Case { rate: 0.2, schedule: Schedule::OneCycle { steps: 25 }, ..sgd() },
        "lion" => Case { decay: Decay::Decoupled(0.1), ..case(Lion::default(), 0.001) },
        other => panic!("the case {other} has no rule"),
    }
}

/// All 20, to 10⁻¹²; the gradients are inputs of the step.
#[test]
fn trajectories_are_those_of_pytorch() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/optimizers.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let tensor = |value: &Value, name: &str| {
        let shape: &[usize] = if name == "w" { &[3, 2] } else { &[2] };
        Tensor::new(shape, numbers(&value[name])).unwrap()
    };
    let cases = golden["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 20);
    for (name, expected) in cases {
        let Case { rule, decay, clip, rate, schedule } = named(name);
        let mut states = States::new();
        let parameters = ["w", "b"].map(|p| states.add(p, tensor(&golden["parameters"], p)).unwrap());
        let group = Group { parameters: parameters.to_vec(), decay };
        let mut optimizer = Optimizer::boxed(&mut states, rule(), [group]).unwrap();
        if let Some(clip) = clip {
            optimizer = optimizer.with_clip(clip);
        }
        let step = Program::record(&states, |t| {
            let gradients = [t.input(DType::F64, [3, 2]), t.input(DType::F64, [2])];
            let rate = t.input(DType::F64, []);
            t.outputs(optimizer.apply(t, &gradients, rate)?)
        })
        .unwrap();
        let mut workspace = step.workspace().unwrap();
        let mut due = expected["after"].as_array().unwrap().iter().peekable();
        for (i, gradient) in golden["gradients"].as_array().unwrap().iter().enumerate() {
            let (w, b) = (tensor(gradient, "w"), tensor(gradient, "b"));
            let rate = rate * schedule.factor(i);
            step.run(&mut workspace, &mut states, (&w, &b, &rate)).unwrap();
            let Some(after) = due.next_if(|after| after["step"].as_u64() == Some(i as u64 + 1)) else {
                continue;
            };
            let lr = after["lr"].as_f64().unwrap();
            assert!((rate - lr).abs() <= 1e-12 * lr, "{name}, step {}: rate {rate} of {lr}", i + 1);
            for (p, &state) in ["w", "b"].iter().zip(&parameters) {
                let found = states.get(state).unwrap().to_f64();
                for (found, due) in found.iter().zip(numbers(&after[*p])) {
                    let error = (found - due).abs() / due.abs().max(1e-3);
                    assert!(error < 1e-12, "{name}, step {}: {p} is {found}, due {due}", i + 1);
                }
            }
        }
        assert!(due.next().is_none(), "{name}");
    }
}
