//! Networks by name.

use std::fmt;
use std::str::FromStr;

use wengert::{Conv, Pool};

use crate::builder::Builder;
use crate::error::{Error, Result};
use crate::init::Init;
use crate::layers::{
    Affine, BatchNorm, Convolution, Dropout, Flatten, GlobalAvgPool, Gru, MaxPool, Recurrent, Relu, Stack,
    Unflatten,
};

/// A network that classifies images, as people write it: `two-layer`, `mlp:784-300-100-10`, `lenet`, `conv` or `gru`.
///
/// ```
/// use wengert::DType::F32;
/// use wengert_nn::{Architecture, Builder, ModelSummary};
/// let mlp: Architecture = "mlp:784-300-100-10".parse()?;
/// let mut b = Builder::new(F32, 1);
/// let stack = mlp.build(&mut b, (28, 28), 10, 0.0)?;
/// assert_eq!(ModelSummary::of(&stack, &b.states, F32, [1, 784])?.parameters(), 266_610);
/// # Ok::<(), wengert_nn::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// The book's network, with so many hidden units: `W1 b1 W2 b2`.
    TwoLayer(usize),
    /// Affine layers of these sizes, the inputs first and the classes last, with ReLU between them: `fc1.weight` and so on.
    Mlp(Vec<usize>),
    /// Two convolutions and three affine layers (LeCun et al., "Gradient-based learning applied to document recognition", 1998), with ReLU and maxima.
    LeNet,
    /// Four convolutions of 16, 32, 64 and 64 channels with batch normalization, maxima behind the second and third, and means at the end: 9.2 M multiplications
    /// for an image of 28 by 28 pixels.
    Conv,
    /// Gated recurrent units over the rows of an image, and an affine layer.
    Gru(usize),
}

impl FromStr for Architecture {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            let known = "two-layer, two-layer:50, mlp:784-300-100-10, lenet, conv, gru or gru:64";
            Error::Argument(format!("expected a model such as {known}, found {text}"))
        };
        let (name, sizes) = text.split_once(':').map_or((text, None), |(name, sizes)| (name, Some(sizes)));
        let numbers = |sizes: &str| -> Result<Vec<usize>> {
            let numbers =
                sizes.split('-').map(|size| size.parse().ok().filter(|size| (1..=1 << 16).contains(size)));
            numbers.collect::<Option<_>>().ok_or_else(unknown)
        };
        let one = |default: usize| match sizes.map(numbers).transpose()?.as_deref() {
            None => Ok(default),
            Some([size]) => Ok(*size),
            Some(_) => Err(unknown()),
        };
        match (name, sizes) {
            ("two-layer", _) => one(50).map(Self::TwoLayer),
            ("gru", _) => one(64).map(Self::Gru),
            ("mlp", Some(sizes)) => numbers(sizes)
                .and_then(|s| if (2..=256).contains(&s.len()) { Ok(Self::Mlp(s)) } else { Err(unknown()) }),
            ("lenet", None) => Ok(Self::LeNet),
            ("conv", None) => Ok(Self::Conv),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TwoLayer(hidden) => write!(f, "two-layer:{hidden}"),
            Self::Mlp(sizes) => {
                let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
                write!(f, "mlp:{}", sizes.join("-"))
            }
            Self::LeNet => f.write_str("lenet"),
            Self::Conv => f.write_str("conv"),
            Self::Gru(size) => write!(f, "gru:{size}"),
        }
    }
}

impl Architecture {
    /// The layers for images of this height and width, given as rows of pixels, and so many classes; with dropout at a rate in front of affine layers but the first. An error
    /// where sizes do not fit.
    pub fn build(
        &self,
        b: &mut Builder,
        (height, width): (usize, usize),
        classes: usize,
        dropout: f64,
    ) -> Result<Stack> {
        let mut stack = Stack::new();
        match self {
            Self::TwoLayer(hidden) => {
                two_layer(&mut stack, b, (height.saturating_mul(width), *hidden, classes))?
            }
            Self::Mlp(sizes) => mlp(&mut stack, b, sizes, (height.saturating_mul(width), classes), dropout)?,
            Self::LeNet => lenet(&mut stack, b, (height, width), classes, dropout)?,
            Self::Conv => conv(&mut stack, b, (height, width), classes, dropout)?,
            Self::Gru(_) if height > 1024 => {
                return Err(Error::Argument(format!("images of {height} rows are too high for gru")));
            }
            Self::Gru(size) => {
                stack.add(b, "rows", |_| Ok(Unflatten(vec![height, width])))?;
                stack.add(b, "gru", |b| Ok(Recurrent::last(Gru::build(b, width, *size)?)))?;
                with_dropout(&mut stack, b, "dropout", dropout)?;
                stack.add(b, "fc", |b| Affine::build(b, (*size, classes), Init::GlorotUniform))?;
            }
        }
        Ok(stack)
    }
}

fn with_dropout(stack: &mut Stack, b: &mut Builder, name: &str, rate: f64) -> Result<()> {
    if rate > 0.0 { stack.add(b, name, |_| Ok(Dropout(rate))) } else { Ok(()) }
}

fn two_layer(
    stack: &mut Stack,
    b: &mut Builder,
    (inputs, hidden, classes): (usize, usize, usize),
) -> Result<()> {
    let init = Init::Normal(0.01);
    let first = Affine::named(b, ("W1", "b1"), (inputs, hidden), init)?;
    let second = Affine::named(b, ("W2", "b2"), (hidden, classes), init)?;
    *stack = std::mem::take(stack).with("affine1", first).with("relu1", Relu).with("affine2", second);
    Ok(())
}

fn mlp(
    stack: &mut Stack,
    b: &mut Builder,
    sizes: &[usize],
    (inputs, classes): (usize, usize),
    dropout: f64,
) -> Result<()> {
    if sizes.first() != Some(&inputs) || sizes.last() != Some(&classes) {
        let found = Architecture::Mlp(sizes.to_vec());
        return Err(Error::Argument(format!(
            "{found}: expected {inputs} pixels at first and {classes} classes at last"
        )));
    }
    for (n, pair) in sizes.windows(2).enumerate() {
        if n > 0 {
            stack.add(b, &format!("relu{n}"), |_| Ok(Relu))?;
            with_dropout(stack, b, &format!("dropout{n}"), dropout)?;
        }
        stack.add(b, &format!("fc{}", n + 1), |b| Affine::build(b, (pair[0], pair[1]), Init::He))?;
    }
    Ok(())
}

fn lenet(
    stack: &mut Stack,
    b: &mut Builder,
    (height, width): (usize, usize),
    classes: usize,
    dropout: f64,
) -> Result<()> {
    // The second convolution has no padding, and there are two poolings.
    let after = |size: usize| (size / 2).saturating_sub(4) / 2;
    let flat = after(height).saturating_mul(after(width)).saturating_mul(16);
    if flat == 0 {
        return Err(Error::Argument(format!("images of {height} by {width} pixels are too small for lenet")));
    }
    stack.add(b, "image", |_| Ok(Unflatten(vec![1, height, width])))?;
    stack.add(b, "conv1", |b| Convolution::build(b, (1, 6), &[5, 5], Conv::new().padding(2), 1, Init::He))?;
    stack.add(b, "relu1", |_| Ok(Relu))?;
    stack.add(b, "pool1", |_| Ok(MaxPool(Pool::new(2))))?;
    stack.add(b, "conv2", |b| Convolution::build(b, (6, 16), &[5, 5], Conv::new(), 1, Init::He))?;
    stack.add(b, "relu2", |_| Ok(Relu))?;
    stack.add(b, "pool2", |_| Ok(MaxPool(Pool::new(2))))?;
    stack.add(b, "flatten", |_| Ok(Flatten))?;
    for (n, sizes) in [(flat, 120), (120, 84), (84, classes)].into_iter().enumerate() {
        if n > 0 {
            stack.add(b, &format!("relu{}", n + 2), |_| Ok(Relu))?;
            with_dropout(stack, b, &format!("dropout{n}"), dropout)?;
        }
        stack.add(b, &format!("fc{}", n + 1), |b| Affine::build(b, sizes, Init::He))?;
    }
    Ok(())
}

fn conv(
    stack: &mut Stack,
    b: &mut Builder,
    (height, width): (usize, usize),
    classes: usize,
    dropout: f64,
) -> Result<()> {
    if height < 4 || width < 4 {
        return Err(Error::Argument(format!("images of {height} by {width} pixels are too small for conv")));
    }
    stack.add(b, "image", |_| Ok(Unflatten(vec![1, height, width])))?;
    for (n, (channels, pooled)) in
        [((1, 16), false), ((16, 32), true), ((32, 64), true), ((64, 64), false)].into_iter().enumerate()
    {
        let n = n + 1;
        let same = Conv::new().padding(1);
        stack.add(b, &format!("conv{n}"), |b| Convolution::build(b, channels, &[3, 3], same, 1, Init::He))?;
        stack.add(b, &format!("bn{n}"), |b| BatchNorm::build(b, channels.1))?;
        stack.add(b, &format!("relu{n}"), |_| Ok(Relu))?;
        if pooled {
            stack.add(b, &format!("pool{n}"), |_| Ok(MaxPool(Pool::new(2))))?;
        }
    }
    stack.add(b, "mean", |_| Ok(GlobalAvgPool))?;
    with_dropout(stack, b, "dropout", dropout)?;
    stack.add(b, "fc", |b| Affine::build(b, (64, classes), Init::He))?;
    Ok(())
}
