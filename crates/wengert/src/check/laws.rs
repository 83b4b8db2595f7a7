//! Laws that hold for every function: each is one call, and its error says what broke and where.
//!
//! ```
//! use ndarray::array;
//! use wengert::check::laws;
//! use wengert::{Tensor, Var, Recorder};
//! let x = [Tensor::from_array(&array![[0.5, 2.0], [1.0, 3.0]])?];
//! fn f<'t>(_: &'t Recorder, x: &[Var<'t>]) -> Vec<Var<'t>> {
//!     vec![x[0].matmul(x[0]).ln().sum(1)]
//! }
//! laws::adjoint(&f, &x, 1)?;
//! laws::tangent(&f, &x, 1)?;
//! laws::tangent(&laws::pullback(&f), &x, 1)?; // second order
//! # Ok::<(), wengert::Error>(())
//! ```

use ndarray::{ArrayD, Axis};

use super::{
    Function, broken, differ, difference, dot, execute, execute_on, floats, function, moved, random_like,
    record, recorded, run,
};
use crate::bind::Bind;
use crate::dtype::DType;
use crate::elements::{Element, with_dtype};
use crate::error::{ErrorKind, Result};
use crate::exec::Machine;
use crate::ir::{Domain, Outputs, Recorder, States, Var, verify};
use crate::ops::{Sampler, Spec};
use crate::program::{Passes, Program};
use crate::shape::{Shape, TensorType};
use crate::tensor::Tensor;
use crate::transform::PASSES;

/// `⟨u, J v⟩ = ⟨Jᵀ u, v⟩` for random `u` and `v`: forward and reverse mode are transposes.
pub fn adjoint(f: &dyn Function, inputs: &[Tensor], seed: u64) -> Result<()> {
    let mut sampler = Sampler::new(seed);
    let y = run(f, inputs)?;
    let (wrt, outs) = (floats(inputs), floats(&y));
    let v = random_like(inputs, &mut sampler)?;
    let u = random_like(&y, &mut sampler)?;
    let both = function(|t, x| both_modes(t, f, x, (&wrt, &v), (&outs, &u)));
    let found = run(&both, inputs)?;
    let (tangents, cotangents) = found.split_at(outs.len());
    let forward: f64 = outs.iter().zip(tangents).map(|(&o, t)| dot(t, &u[o])).sum();
    let reverse: f64 = wrt.iter().zip(cotangents).map(|(&i, c)| dot(c, &v[i])).sum();
    let terms: f64 = outs.iter().zip(tangents).map(|(&o, t)| dot(&absolute(t), &absolute(&u[o]))).sum();
    if (forward - reverse).abs() <= 1e-12 * (1.0 + terms) {
        return Ok(());
    }
    Err(broken(format!("the modes are no transposes: ⟨u, J v⟩ = {forward:e}, ⟨Jᵀ u, v⟩ = {reverse:e}")))
}

fn absolute(t: &Tensor) -> Tensor {
    Tensor::new(t.shape(), t.to_f64().iter().map(|x| x.abs()).collect::<Vec<f64>>())
        .unwrap_or_else(|_| t.clone())
}

fn both_modes<'t>(
    t: &'t Recorder,
    f: &dyn Function,
    x: &[Var<'t>],
    (wrt, v): (&[usize], &[Tensor]),
    (outs, u): (&[usize], &[Tensor]),
) -> Vec<Var<'t>> {
    let y = f(t, x);
    let seeds: Vec<_> = wrt.iter().map(|&i| (x[i], t.constant(v[i].clone()))).collect();
    let pulls: Vec<_> = outs.iter().map(|&o| (y[o], t.constant(u[o].clone()))).collect();
    let by: Vec<Var<'t>> = wrt.iter().map(|&i| x[i]).collect();
    let of: Vec<Var<'t>> = outs.iter().map(|&o| y[o]).collect();
    t.jvp(&of, &seeds).into_iter().chain(t.vjp(&pulls, &by)).collect()
}

/// Forward mode equals central differences in f64, along a random direction. Inputs of other types are held fixed.
pub fn tangent(f: &dyn Function, inputs: &[Tensor], seed: u64) -> Result<()> {
    along(f, inputs, &random_like(inputs, &mut Sampler::new(seed))?)
}

/// All of the Jacobian, in f64: its columns by forward mode and its rows by reverse mode are the same, and central differences. For functions of few numbers; of one
/// of many it is much work.
///
/// ```
/// use wengert::check::laws;
/// let x = [wengert::Tensor::new([2], vec![0.5, 2.0])?];
/// laws::jacobian(&|_, x| vec![x[0].sin() * x[0].sum(())], &x)?;
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn jacobian(f: &dyn Function, inputs: &[Tensor]) -> Result<()> {
    let wrt: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].ty().dtype == DType::F64).collect();
    let program = record(f, inputs)?;
    let outs = floats(&execute(&program, inputs)?);
    let types: Vec<TensorType> = inputs.iter().map(Tensor::ty).collect();
    let results = program.tape().outputs().iter().filter_map(|&v| program.tape().ty(v));
    let results: Vec<TensorType> = results.filter(|ty| ty.dtype.is_float()).collect();
    let numbers = |found: &[Tensor]| found.iter().flat_map(Tensor::to_f64).collect::<Vec<f64>>();
    let mut rows = Vec::new();
    for unit in units(&results)? {
        rows.push(numbers(&run(&function(|t, x| pulled(t, f, x, &wrt, &unit)), inputs)?));
    }
    for (j, unit) in units(&types)?.into_iter().enumerate() {
        let column = numbers(&run(&function(|t, x| pushed(t, f, x, &wrt, &unit)), inputs)?);
        let numeric = difference(&program, inputs, &unit, 1e-3)?;
        let numeric: Vec<f64> = outs.iter().flat_map(|&o| numeric[o].to_f64()).collect();
        for (i, (&forward, numeric)) in column.iter().zip(numeric).enumerate() {
            let reverse = rows.get(i).and_then(|row| row.get(j)).copied().unwrap_or(f64::NAN);
            let near = |a: f64, b: f64, tolerance: f64| (a - b).abs() <= tolerance * (1.0 + b.abs());
            if !near(forward, numeric, 1e-7) || !near(forward, reverse, 1e-12) {
                return Err(broken(format!(
                    "the Jacobian in row {i}, column {j} is {forward:e} forwards, {reverse:e} in reverse, {numeric:e} by differences"
                )));
            }
        }
    }
    Ok(())
}

/// Directions along each single element of f64.
fn units(of: &[TensorType]) -> Result<Vec<Vec<Tensor>>> {
    let mut units = Vec::new();
    for (i, ty) in of.iter().enumerate().filter(|(_, ty)| ty.dtype == DType::F64) {
        for e in 0..ty.shape.elements() {
            let mut unit = of.iter().map(|&ty| Tensor::filled(ty, 0.0)).collect::<Result<Vec<_>>>()?;
            let mut numbers = vec![0.0; ty.shape.elements()];
            numbers[e] = 1.0;
            unit[i] = Tensor::new(ty.shape, numbers)?;
            units.push(unit);
        }
    }
    Ok(units)
}

fn pulled<'t>(t: &'t Recorder, f: &dyn Function, x: &[Var<'t>], wrt: &[usize], u: &[Tensor]) -> Vec<Var<'t>> {
    let y = f(t, x).into_iter().filter(|y| y.dtype().is_float());
    let seeds: Vec<_> = y.zip(u).map(|(y, u)| (y, t.constant(u.clone()))).collect();
    t.vjp(&seeds, &wrt.iter().map(|&i| x[i]).collect::<Vec<_>>())
}

/// The same along a given direction.
pub(super) fn along(f: &dyn Function, inputs: &[Tensor], direction: &[Tensor]) -> Result<()> {
    let wrt: Vec<usize> = (0..inputs.len()).filter(|&i| inputs[i].ty().dtype == DType::F64).collect();
    let push = function(|t, x| pushed(t, f, x, &wrt, direction));
    let program = record(f, inputs)?;
    let outs = floats(&execute(&program, inputs)?);
    let found = run(&push, inputs)?;
    let numeric = difference(&program, inputs, direction, 1e-3)?;
    for (o, tangent) in outs.into_iter().zip(found) {
        if let Some(where_) = differ(&tangent, &numeric[o], 1e-7) {
            return Err(broken(format!("the tangent of output {o} is no central difference: {where_}")));
        }
    }
    Ok(())
}

fn pushed<'t>(t: &'t Recorder, f: &dyn Function, x: &[Var<'t>], wrt: &[usize], v: &[Tensor]) -> Vec<Var<'t>> {
    let y: Vec<Var<'t>> = f(t, x).into_iter().filter(|y| y.dtype().is_float()).collect();
    let seeds: Vec<_> = wrt.iter().map(|&i| (x[i], t.constant(v[i].clone()))).collect();
    t.jvp(&y, &seeds)
}

/// The function `x ↦ Jᵀ(x) u` for fixed random-looking `u`: laws of it are laws of second order.
pub fn pullback(f: &dyn Function) -> impl Function {
    function(move |t, x| pulled_by(t, f, x))
}

pub(super) fn pulled_by<'t>(t: &'t Recorder, f: &dyn Function, x: &[Var<'t>]) -> Vec<Var<'t>> {
    let mut sampler = Sampler::new(17);
    let by: Vec<Var<'t>> = x.iter().copied().filter(|x| x.dtype().is_float()).collect();
    let y = f(t, x).into_iter().filter(|y| y.dtype().is_float());
    let mut draw =
        |y: Var<'t>| Spec::float(y.shape(), Domain::Between(-1.0, 1.0)).draw(y.dtype(), &mut sampler);
    let seeds: Vec<(Var<'t>, Var<'t>)> = y.map(|y| (y, t.constant(draw(y)))).collect();
    t.vjp(&seeds, &by)
}

/// Mapping over a batch equals one call for each example, up to rounding. Each input comes with
/// its examples; where all are given as one, it is shared.
pub fn batching(f: &dyn Function, examples: &[Vec<Tensor>]) -> Result<()> {
    let size = examples.iter().map(Vec::len).max().unwrap_or(0);
    let mut stacked = Vec::new();
    for example in examples {
        match example.as_slice() {
            [] => return Err(ErrorKind::Argument("an input without examples".into()).into()),
            [shared] => stacked.push((shared.clone(), None)),
            many => stacked.push((stack(many)?, Some(0))),
        }
    }
    let inputs: Vec<Tensor> = stacked.iter().map(|(x, _)| x.clone()).collect();
    let axes: Vec<Option<usize>> = stacked.iter().map(|(_, axis)| *axis).collect();
    let mapped = run(&function(|t, x| mapped(t, f, x, &axes)), &inputs)?;
    let mut singles: Vec<Vec<Tensor>> = Vec::new();
    for i in 0..size {
        let one: Vec<Tensor> = examples.iter().filter_map(|e| e.get(i.min(e.len() - 1)).cloned()).collect();
        singles.push(run(f, &one)?);
    }
    for (o, batch) in mapped.iter().enumerate() {
        let column: Vec<Tensor> = singles.iter().map(|s| s[o].clone()).collect();
        if let Some(where_) = differ(batch, &stack(&column)?, 1e-12) {
            return Err(broken(format!("output {o} over a batch is not that of its examples: {where_}")));
        }
    }
    Ok(())
}

fn mapped<'t>(t: &'t Recorder, f: &dyn Function, x: &[Var<'t>], axes: &[Option<usize>]) -> Vec<Var<'t>> {
    let inputs: Vec<(Var<'t>, Option<usize>)> = x.iter().copied().zip(axes.iter().copied()).collect();
    t.vmap(&inputs, |x| f(t, x))
}

fn stack(tensors: &[Tensor]) -> Result<Tensor> {
    let differ = |t: &Tensor| t.ty() != tensors[0].ty();
    if tensors.is_empty() || tensors.iter().any(differ) {
        return Err(ErrorKind::Argument("examples are of one element type and shape".into()).into());
    }
    let shape = tensors[0].shape().insert(0, tensors.len())?;
    fn join<T: Element>(shape: Shape, tensors: &[Tensor]) -> Result<Tensor> {
        let mut all = Vec::with_capacity(shape.elements());
        for t in tensors {
            all.extend_from_slice(t.as_slice::<T>()?);
        }
        Tensor::new(shape, all)
    }
    match tensors[0].ty().dtype {
        DType::Bool => join::<bool>(shape, tensors),
        other => with_dtype!(other, T => join::<T>(shape, tensors)),
    }
}

/// The tape passes its type-checker, before and after the passes over it, which change its results by rounding
/// at most. Planned exactly, for this machine, for a tiny and for a huge one, on one thread and on three, it gives the bits
/// of its trivial plan and of its rows one by one; planned with all passes, the same bits on each of these; in f32 it
/// tracks f64. A later run in a workspace that other numbers went through gives the bits of the first.
pub fn execution(f: &dyn Function, inputs: &[Tensor]) -> Result<()> {
    optimising(f, inputs)?;
    let (found, expected) = (planned(f, inputs)?, rows(f, inputs)?);
    for (o, (a, c)) in found.iter().zip(&expected).enumerate() {
        if a.ty() != c.ty() || a.data().as_bytes() != c.data().as_bytes() {
            return Err(broken(format!("output {o} planned is {a:?}, row by row {c:?}")));
        }
    }
    let program = recorded(Passes::All, &Machine::THIS, f, inputs)?;
    let (states, mut workspace) = (States::new(), program.workspace()?);
    let others = moved(inputs, &random_like(inputs, &mut Sampler::new(1))?, 0.5)?;
    let mut runs = Vec::new();
    for x in [inputs, others.as_slice(), inputs] {
        let results = match program.evaluate(&mut workspace, &states, x) {
            // Other numbers need not lie in the function's domain.
            Err(_) if std::ptr::eq(x, others.as_slice()) => continue,
            results => results?,
        };
        runs.push((0..found.len()).map(|i| results.tensor(i)).collect::<Result<Vec<Tensor>>>()?);
    }
    alike("a later run", &runs[runs.len() - 1], &runs[0])?;
    let halved: Vec<Tensor> = inputs.iter().map(|x| convert(x, DType::F64, DType::F32)).collect();
    let narrow = planned(f, &halved)?;
    for (o, (a, b)) in narrow.iter().zip(&found).enumerate().filter(|(_, (_, b))| b.ty().dtype.is_float()) {
        if let Some(where_) = differ(a, b, 1e-4) {
            return Err(broken(format!("output {o} in f32 is not that in f64: {where_}")));
        }
    }
    Ok(())
}

/// Arrays of f64 that lie otherwise in memory, columns beside each other, backwards, or apart, give the same bits.
pub fn layouts(f: &dyn Function, inputs: &[Tensor]) -> Result<()> {
    let program = record(f, inputs)?;
    let (expected, mut workspace) = (execute(&program, inputs)?, program.workspace()?);
    let columns = |x: ArrayD<f64>| x.reversed_axes().as_standard_layout().into_owned().reversed_axes();
    let backwards = |mut x: ArrayD<f64>| {
        (0..x.ndim()).for_each(|axis| x.invert_axis(Axis(axis)));
        let mut x = x.as_standard_layout().into_owned();
        (0..x.ndim()).for_each(|axis| x.invert_axis(Axis(axis)));
        x
    };
    let apart = |x: ArrayD<f64>| {
        let mut wide = ArrayD::from_elem(x.raw_dim() * 2, f64::NAN);
        (0..x.ndim()).for_each(|axis| wide.slice_axis_inplace(Axis(axis), ndarray::Slice::new(0, None, 2)));
        wide.assign(&x);
        wide
    };
    type Lay = fn(ArrayD<f64>) -> ArrayD<f64>;
    let layouts: [(&str, Lay); 3] =
        [("columns beside each other", columns), ("backwards", backwards), ("apart", apart)];
    for (name, lay) in layouts {
        let laid: Vec<Option<ArrayD<f64>>> = inputs.iter().map(|x| x.to_array().ok().map(lay)).collect();
        let bound = laid.iter().zip(inputs).map(|(laid, x)| match laid {
            Some(laid) => laid as &dyn Bind,
            None => x,
        });
        let bound: Vec<&dyn Bind> = bound.collect();
        let results = program.evaluate(&mut workspace, &States::new(), &bound[..])?;
        let found = (0..expected.len()).map(|i| results.tensor(i)).collect::<Result<Vec<Tensor>>>()?;
        alike(&format!("arrays that lie {name}"), &found, &expected)?;
    }
    Ok(())
}

/// What the trivial plan gives, with which all exact ones agree.
fn planned(f: &dyn Function, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let run = |passes: Passes, machine: &Machine, threads: usize| {
        execute_on(threads, &recorded(passes, machine, f, inputs)?, inputs)
    };
    Ok(every(run)?.0)
}

/// What the trivial plan gives, and what the full one does: the same for any machine and any number of threads.
fn every(run: impl Fn(Passes, &Machine, usize) -> Result<Vec<Tensor>>) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
    let trivial = run(Passes::None, &Machine::THIS, 1)?;
    let full = run(Passes::All, &Machine::THIS, 1)?;
    for (machine, name) in [(&Machine::THIS, "this"), (&Machine::TINY, "a tiny"), (&Machine::HUGE, "a huge")]
    {
        for (passes, expected) in [(Passes::Exact, &trivial), (Passes::All, &full)] {
            for threads in [1, 3] {
                let what = format!("{passes:?} passes, for {name} machine, on {threads} threads");
                alike(&what, &run(passes, machine, threads)?, expected)?;
            }
        }
    }
    Ok((trivial, full))
}

/// What records a program.
type Record<'a> = &'a dyn Fn(&Recorder) -> Result<Outputs>;

/// A whole program, with its states: over three runs the exact plans, for machines and threads as in [`execution`], have
/// the bits of the trivial one, the full plans the same bits among themselves, and those are off by rounding: each
/// number by at most `tolerance` times one more than itself.
///
/// ```
/// use ndarray::array;
/// use wengert::{DType::F64, States, Tensor, check::laws};
/// let mut states = States::new();
/// let w = states.add("w", array![1.0, 2.0])?;
/// let x = [Tensor::from_array(&array![0.5, -1.0])?];
/// laws::program(&states, &x, 1e-12, &|t| {
///     let (x, w) = (t.input(F64, [2]), t.state(w));
///     t.update(w, w * 0.9 + x);
///     t.outputs((w * x).sum(()))
/// })?;
/// # Ok::<(), wengert::Error>(())
/// ```
pub fn program(states: &States, inputs: &[Tensor], tolerance: f64, record: Record<'_>) -> Result<()> {
    let run = |passes: Passes, machine: &Machine, threads: usize| {
        let program = Program::planned(Recorder::new(states), passes, machine, |t| record(t))?;
        let (mut states, mut workspace) = (states.clone(), program.workspace_on(threads)?);
        let mut found = Vec::new();
        for _ in 0..3 {
            let results = program.run(&mut workspace, &mut states, inputs)?;
            let outputs = 0..program.tape().outputs().len();
            found.extend(outputs.map(|i| results.tensor(i)).collect::<Result<Vec<Tensor>>>()?);
            found.extend(states.iter().map(|(_, _, value)| value.clone()));
        }
        Ok(found)
    };
    let (trivial, full) = every(run)?;
    for (o, (a, b)) in full.iter().zip(&trivial).enumerate() {
        if let Some(where_) = differ(a, b, tolerance) {
            return Err(broken(format!("value {o} of the full plan is not that of the rows: {where_}")));
        }
    }
    Ok(())
}

/// Every pass leaves a tape that passes its type-checker; what the program then computes is what was recorded, up
/// to rounding.
fn optimising(f: &dyn Function, inputs: &[Tensor]) -> Result<()> {
    let program = record(f, inputs)?;
    verify(program.tape())?;
    let mut tape = program.tape().clone();
    for pass in &PASSES {
        tape = pass.apply(&tape);
        verify(&tape)?;
    }
    let expected = execute(&recorded(Passes::None, &Machine::THIS, f, inputs)?, inputs)?;
    for (o, (a, b)) in execute(&program, inputs)?.iter().zip(&expected).enumerate() {
        if let Some(where_) = differ(a, b, 1e-12) {
            return Err(broken(format!("output {o} after all passes is not that before: {where_}")));
        }
    }
    Ok(())
}

fn alike(what: &str, found: &[Tensor], expected: &[Tensor]) -> Result<()> {
    for (o, (a, b)) in found.iter().zip(expected).enumerate() {
        if a.data().as_bytes() != b.data().as_bytes() {
            return Err(broken(format!("{what}: output {o} is {a:?}, not {b:?}")));
        }
    }
    Ok(())
}

fn rows(f: &dyn Function, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let t = Recorder::default();
    let x: Vec<Var<'_>> = inputs.iter().map(|x| t.input_with(x.clone())).collect();
    f(&t, &x).into_iter().map(|y| y.value().map(|v| (*v).clone())).collect()
}

fn convert(x: &Tensor, from: DType, to: DType) -> Tensor {
    if x.ty().dtype != from || to != DType::F32 {
        return x.clone();
    }
    let narrow: Vec<f32> = x.to_f64().iter().map(|&x| x as f32).collect();
    Tensor::new(x.shape(), narrow).unwrap_or_else(|_| x.clone())
}
