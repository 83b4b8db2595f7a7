//! `wengert summary`, `export`, `import` and `checkpoint inspect`.

use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use wengert::{DType, States, Tensor};
use wengert_nn::{
    Model, ModelSummary, Recipe, load_checkpoint, load_npz, load_states, save_checkpoint, save_npz,
};

use crate::args::{ExportArgs, ImportArgs, Sizes, SummaryArgs};
use crate::settings::Network;
use crate::{Failure, printable};

pub(crate) fn summary(args: &SummaryArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let model = match &args.file {
        Some(file) => Model::load(file)?,
        None => Model::new(&recipe(&args.network, &args.image)?).map_err(Failure::of_settings)?,
    };
    let found = ModelSummary::of(&model.stack, &model.states, model.dtype, [1, model.inputs])?;
    let statistics: usize = elements(&model, model.stack.statistics());
    let bytes = model.dtype.bytes();
    writeln!(out, "{found}")?;
    let kept = if statistics > 0 { format!(", {statistics} running statistics") } else { String::new() };
    writeln!(out, "{}{kept}, {} bytes\n", model.dtype, (found.parameters() + statistics) * bytes)?;
    for state in model.tensors() {
        let (name, ty) = (model.states.name(state).unwrap_or_default(), model.states.get(state)?.ty());
        writeln!(out, "{name}  {ty}")?;
    }
    Ok(())
}

fn elements(model: &Model, states: Vec<wengert::State>) -> usize {
    states.into_iter().filter_map(|state| model.states.get(state).ok()).map(|t| t.shape().elements()).sum()
}

fn recipe(network: &Network, Sizes(sizes): &Sizes) -> Result<Recipe, Failure> {
    let &[height, width] = &sizes[..] else {
        return Err(Failure::Usage("--image: expected a height and a width, such as 28x28".into()));
    };
    network.recipe(Some((height, width)))
}

pub(crate) fn export(args: &ExportArgs) -> Result<(), Failure> {
    let model = Model::load(&args.model)?;
    let mut states = States::new();
    for state in model.tensors() {
        states.add(model.states.name(state).unwrap_or_default(), model.states.get(state)?.clone())?;
    }
    Ok(save_npz(&args.npz, &states)?)
}

pub(crate) fn import(args: &ImportArgs) -> Result<(), Failure> {
    let recipe = recipe(&args.network, &args.image)?;
    Model::new(&recipe).map_err(Failure::of_settings)?;
    let weights = match args.weights.extension() {
        Some(end) if end == "npz" => load_npz(&args.weights)?,
        _ => load_states(&args.weights)?,
    };
    let weights = of_type(&weights, recipe.dtype()?)?;
    let model = Model::with_weights(&args.weights, &recipe, &weights)?;
    // How it was trained is not known.
    let mut network = serde_json::to_value(&recipe).unwrap_or_default();
    if let Some(all) = network.as_object_mut() {
        all.retain(|name, _| {
            ["model", "height", "width", "classes", "dtype", "normalize"].contains(&&**name)
        });
    }
    Ok(save_checkpoint(&args.out, &model.states, &json!({ "kind": "model", "recipe": network }))?)
}

/// The same arrays with all floats of one type: NumPy's are of `f64` unless something else is said.
fn of_type(states: &States, dtype: DType) -> Result<States, Failure> {
    let mut found = States::new();
    for (_, name, tensor) in states.iter() {
        let numbers = || tensor.to_f64();
        let tensor = match (tensor.ty().dtype, dtype) {
            (DType::F64, DType::F32) => {
                Tensor::new(tensor.shape(), numbers().into_iter().map(|x| x as f32).collect())?
            }
            (DType::F32, DType::F64) => Tensor::new(tensor.shape(), numbers())?,
            _ => tensor.clone(),
        };
        found.add(name, tensor)?;
    }
    Ok(found)
}

pub(crate) fn inspect(file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let (states, said) = load_checkpoint(file)?;
    let text = |at: &str| {
        let found = said.pointer(at).unwrap_or(&Value::Null);
        printable(&found.as_str().map_or_else(|| found.to_string(), str::to_owned))
    };
    writeln!(out, "kind        {}", text("/kind"))?;
    for (name, at) in [
        ("step", "/step"),
        ("epoch", "/sampler/epoch"),
        ("position", "/sampler/position"),
        ("schedule", "/schedule"),
        ("data", "/data"),
        ("best", "/best"),
        ("test", "/test"),
    ] {
        if said.pointer(at).is_some() {
            writeln!(out, "{name:<10}  {}", text(at))?;
        }
    }
    if let Some(points) = said.get("history").and_then(Value::as_array) {
        writeln!(out, "evaluated   {} times", points.len())?;
        if let Some(last) = points.last() {
            writeln!(out, "last        {last}")?;
        }
    }
    writeln!(out, "\nsettings")?;
    for (name, value) in said.get("recipe").and_then(Value::as_object).into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(out, "  {:<16} {}", printable(name), printable(&value))?;
    }
    writeln!(out, "\n{:<32} {:<16} {:>12} {:>12} {:>12}", "array", "type", "least", "mean", "most")?;
    for (_, name, tensor) in states.iter() {
        let numbers = tensor.to_f64();
        let (least, most) =
            numbers.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), &x| (a.min(x), b.max(x)));
        let mean = numbers.iter().sum::<f64>() / numbers.len().max(1) as f64;
        writeln!(
            out,
            "{:<32} {:<16} {least:>12.4e} {mean:>12.4e} {most:>12.4e}",
            printable(name),
            tensor.ty().to_string()
        )?;
    }
    Ok(())
}
