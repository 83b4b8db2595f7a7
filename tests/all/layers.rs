//! Layers against PyTorch: `tests/golden/layers.json`, made by `tests/reference/layers.py`.

use serde_json::Value;
use wengert::{Conv, DType, Pool, Program, States, Tensor};
use wengert_nn::{
    Affine, Attention, AvgPool, BatchNorm, Builder, Convolution, GlobalAvgPool, GroupNorm, Gru, Init, Layer,
    LayerNorm, Lstm, MaxPool, Recurrent, Result, RmsNorm, Rnn, Training, TransformerBlock,
    TransposedConvolution,
};

fn tensor(value: &Value) -> Tensor {
    let list = |key: &str| value[key].as_array().unwrap().iter();
    let shape: Vec<usize> = list("shape").map(|n| n.as_u64().unwrap() as usize).collect();
    Tensor::new(&shape[..], list("data").map(|x| x.as_f64().unwrap()).collect::<Vec<f64>>()).unwrap()
}

fn layer(name: &str, b: &mut Builder) -> Result<Box<dyn Layer>> {
    let init = Init::Fan;
    Ok(match name {
        "affine" => Box::new(Affine::build(b, (3, 4), init)?),
        "conv1d" => Box::new(Convolution::build(b, (4, 6), &[3], Conv::new().stride(2).padding(1), 2, init)?),
        "conv2d" => {
            Box::new(Convolution::build(b, (2, 3), &[3, 2], Conv::new().padding(1).dilation(2), 1, init)?)
        }
        "conv_transpose1d" => {
            Box::new(TransposedConvolution::build(b, (3, 2), &[3], Conv::new().stride(2), init)?)
        }
        "conv_transpose2d" => {
            Box::new(TransposedConvolution::build(b, (3, 2), &[2, 2], Conv::new().stride(2), init)?)
        }
        "max_pool" => Box::new(MaxPool(Pool::new(2))),
        "avg_pool" => Box::new(AvgPool(Pool::new(2))),
        "global_avg_pool" => Box::new(GlobalAvgPool),
        "layer_norm" => Box::new(LayerNorm::build(b, 5)?),
        "rms_norm" => Box::new(RmsNorm::build(b, 5)?),
        "group_norm" => Box::new(GroupNorm::build(b, 2, 4)?),
        "rnn" => Box::new(Recurrent::all(Rnn::build(b, 3, 4)?)),
        "gru" => Box::new(Recurrent::all(Gru::build(b, 3, 4)?)),
        "lstm" => Box::new(Recurrent::all(Lstm::build(b, 3, 4)?)),
        "batch_norm" => Box::new(BatchNorm::build(b, 3)?),
        "attention" => Box::new(Attention::build(b, 6, 2, false)?),
        "causal_attention" => Box::new(Attention::build(b, 6, 2, true)?),
        "transformer" => Box::new(TransformerBlock::build(b, 6, 2, 10, 0.0, false)?),
        other => panic!("the case {other} has no layer"),
    })
}

#[track_caller]
fn close(name: &str, found: &Tensor, due: &Value) {
    let due = tensor(due);
    assert_eq!(found.shape(), due.shape(), "{name}");
    for (found, due) in found.to_f64().iter().zip(due.to_f64()) {
        assert!((found - due).abs() < 1e-12 * due.abs().max(1.0), "{name}: {found}, due {due}");
    }
}

/// Values, and of those that differ while training those too, with what they keep.
#[test]
fn layers_are_those_of_pytorch() -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/layers.json");
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = golden["cases"].as_object().unwrap();
    assert_eq!(cases.len(), 18);
    for (name, case) in cases {
        let mut b = Builder::new(DType::F64, 1);
        let layer = layer(name, &mut b)?;
        let state = case["state"].as_object().unwrap();
        let known = layer.parameters().into_iter().chain(layer.statistics()).count();
        assert_eq!(known, state.len(), "{name}");
        let set = |states: &mut States, values: &serde_json::Map<String, Value>| {
            for (key, value) in values {
                let state = states.find(key).unwrap_or_else(|| panic!("{name} has no state {key}"));
                states.set(state, tensor(value)).unwrap_or_else(|e| panic!("{name}, {key}: {e}"));
            }
        };
        set(&mut b.states, state);
        let x = tensor(&case["input"]);
        if let Some(due) = case.get("training") {
            let step = Program::record(&b.states, |t| {
                let training = Training::new(t, t.constant(0i64));
                t.outputs(layer.training(&training, t.input(DType::F64, x.shape())))
            })?;
            let mut workspace = step.workspace()?;
            let found = step.run(&mut workspace, &mut b.states, &x)?.tensor(0)?;
            close(name, &found, due);
            for (key, due) in case["after"].as_object().unwrap() {
                close(name, b.states.get(b.states.find(key).unwrap())?, due);
            }
        }
        let program =
            Program::record(&b.states, |t| t.outputs(layer.forward(t, t.input(DType::F64, x.shape()))))?;
        let found = program.evaluate(&mut program.workspace()?, &b.states, &x)?.tensor(0)?;
        close(name, &found, &case["output"]);
    }
    Ok(())
}
