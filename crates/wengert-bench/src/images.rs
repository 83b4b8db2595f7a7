//! Convolutions: single ones, and a network of two that is trained on MNIST.

use serde_json::{Value, json};
use wengert::{Conv, DType, Pool, Program, Sampler, State, States, Tensor, Var};
use wengert_idx::Options;
use wengert_nn::Dataset;

use crate::calls::{normal, timed, with};
use crate::training::{CHUNK, accuracy, stepped};
use crate::{Arguments, Outcome};

/// A convolution of square images.
struct Layer {
    name: &'static str,
    batch: usize,
    channels: [usize; 2],
    size: usize,
    kernel: usize,
    stride: usize,
    padding: usize,
    /// Whether it is the first of a network, whose input has no gradient.
    first: bool,
}

const fn layer(
    name: &'static str,
    batch: usize,
    channels: [usize; 2],
    [size, kernel, stride, padding]: [usize; 4],
    first: bool,
) -> Layer {
    Layer { name, batch, channels, size, kernel, stride, padding, first }
}

/// Those of a small network, of residual ones, one without neighbours and one of a single image.
const LAYERS: [Layer; 8] = [
    layer("lenet1", 100, [1, 16], [28, 5, 1, 2], true),
    layer("lenet2", 100, [16, 32], [14, 5, 1, 2], false),
    layer("res16", 64, [16, 16], [28, 3, 1, 1], false),
    layer("res16-32", 64, [16, 32], [28, 3, 2, 1], false),
    layer("res32", 64, [32, 32], [14, 3, 1, 1], false),
    layer("res64", 64, [64, 64], [7, 3, 1, 1], false),
    layer("one32", 64, [32, 64], [14, 1, 1, 0], false),
    layer("single", 1, [32, 32], [28, 3, 1, 1], false),
];

/// Each of the layers forward, and with its gradients.
pub(crate) fn conv(arguments: &Arguments) -> Outcome {
    let mut shapes = serde_json::Map::new();
    let (mut sum, mut medians) = (0.0, 0.0);
    for l in &LAYERS {
        let conv = || Conv::new().stride(l.stride).padding(l.padding);
        let out = (l.size + 2 * l.padding - l.kernel) / l.stride + 1;
        let dtype = arguments.dtype();
        let (x, w, y) = (
            [l.batch, l.channels[0], l.size, l.size],
            [l.channels[1], l.channels[0], l.kernel, l.kernel],
            [l.batch, l.channels[1], out, out],
        );
        let states = States::new();
        let forward = Program::record(&states, |t| {
            let (x, w) = (t.input(dtype, x), t.input(dtype, w));
            t.input(dtype, y);
            t.outputs(x.conv2d(w, conv()))
        })?;
        let all = Program::record(&states, |t| {
            let (x, w, ct) = (t.input(dtype, x), t.input(dtype, w), t.input(dtype, y));
            let y = x.conv2d(w, conv());
            let by = if l.first { vec![w] } else { vec![w, x] };
            t.outputs([vec![y], t.vjp(&[(y, ct)], &by)].concat())
        })?;
        let mut sampler = Sampler::new(0);
        let mut draw = |dims: &[usize]| normal(&mut sampler, dtype, dims, 1.0);
        let inputs = [draw(&x)?, draw(&w)?, draw(&y)?];
        let times = timed(arguments, &states, &[forward, all], &inputs[..], 30)?;
        let products: usize = [y.iter().product(), l.channels[0], l.kernel, l.kernel].iter().product();
        let flops = 2 * products * if l.first { 2 } else { 3 };
        sum += times[1].least;
        medians += times[1].median;
        shapes.insert(
            l.name.into(),
            json!({
                "forward_us": times[0].least, "all_us": times[1].least, "all_us_median": times[1].median,
                "gflops_all": flops as f64 / times[1].least / 1e3,
            }),
        );
    }
    Ok(
        json!({ "shapes": Value::Object(shapes), "us_per_step": medians, "us_min": sum, "iters": arguments.iters.unwrap_or(30) }),
    )
}

const BATCH: usize = 100;
const SIZE: usize = 28;
const LEARNING_RATE: f64 = 1e-3;
const BETAS: [f64; 2] = [0.9, 0.999];

/// Two convolutions of 5 by 5 with pooling, and two matrices: their shapes, and numbers that come into each of their results.
const PARAMETERS: [(&[usize], usize); 8] = [
    (&[16, 1, 5, 5], 25),
    (&[16], 0),
    (&[32, 16, 5, 5], 400),
    (&[32], 0),
    (&[1568, 128], 1568),
    (&[128], 0),
    (&[128, 10], 128),
    (&[10], 0),
];

/// The classes' logits of images, as bytes.
fn logits<'t>(p: &[Var<'t>], images: Var<'t>) -> Var<'t> {
    let n = images.dim(0);
    let mut x = (images.cast(p[0].dtype()) * (1.0 / 255.0)).reshape([n, 1, SIZE, SIZE]);
    for layer in p[..4].chunks_exact(2) {
        let y = x.conv2d(layer[0], Conv::new().padding(2)) + layer[1].reshape([layer[1].dim(0), 1, 1]);
        x = y.relu().max_pool2d(Pool::new(2));
    }
    let x = x.reshape([n, p[4].dim(0)]);
    (x.matmul(p[4]) + p[5]).relu().matmul(p[6]) + p[7]
}

/// Training of the network with Adam.
pub(crate) fn cnn(arguments: &Arguments) -> Outcome {
    let data = Dataset::load(&arguments.data, 10, arguments.threads, &Options::default())?;
    let (examples, iterations) = (data.train.len(), arguments.iters.unwrap_or(100).max(1));
    let (mut states, mut sampler, dtype) = (States::new(), Sampler::new(0), arguments.dtype());
    let mut weights: Vec<[State; 3]> = Vec::new();
    for (i, (dims, fan_in)) in PARAMETERS.into_iter().enumerate() {
        // By He; biases are zero.
        let deviation = if fan_in == 0 { 0.0 } else { (2.0 / fan_in as f64).sqrt() };
        let w = normal(&mut sampler, dtype, dims, deviation)?;
        let zero = Tensor::filled(w.ty(), 0.0)?;
        weights.push([
            states.add(&format!("w{i}"), w)?,
            states.add(&format!("m{i}"), zero.clone())?,
            states.add(&format!("v{i}"), zero)?,
        ]);
    }
    // The powers of both decays, by which Adam corrects its means.
    let powers = states.add("powers", Tensor::new([2], BETAS.to_vec())?)?;
    let step = Program::record(&states, |t| {
        let (images, labels) = (t.input(DType::U8, [examples, SIZE * SIZE]), t.input(DType::U32, [examples]));
        let index = t.input(DType::U32, [BATCH]);
        let w: Vec<Var<'_>> = weights.iter().map(|w| t.state(w[0])).collect();
        let loss = logits(&w, images.gather(index)).cross_entropy(labels.gather(index));
        let gradients = loss.gradients(w.iter().copied());
        let power = t.state(powers);
        let corrections = (1.0 - power).cast(dtype);
        t.update(power, power * t.constant(BETAS));
        let scale = corrections.at(1).sqrt() / corrections.at(0) * LEARNING_RATE;
        let epsilon = corrections.at(1).sqrt() * 1e-8;
        for (&w, &[_, mean, square]) in w.iter().zip(&weights) {
            let (g, m, v) = (gradients[w], t.state(mean), t.state(square));
            let m_next = m * BETAS[0] + g * (1.0 - BETAS[0]);
            let v_next = v * BETAS[1] + g * g * (1.0 - BETAS[1]);
            t.update(m, m_next);
            t.update(v, v_next);
            t.update(w, w - scale * m_next / (v_next.sqrt() + epsilon));
        }
        t.outputs(loss)
    })?;
    let figures = stepped(arguments, &step, &mut states, &data, BATCH, iterations)?;
    let accuracy = accuracy(&states, &data, arguments.threads, |t| {
        let w: Vec<Var<'_>> = weights.iter().map(|w| t.state(w[0])).collect();
        logits(&w, t.input(DType::U8, [CHUNK, SIZE * SIZE]))
    })?;
    Ok(with(figures, json!({ "final_test_accuracy": accuracy })))
}
