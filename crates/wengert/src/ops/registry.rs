//! The register of ops: how to load each one, and operands to test it with.

use std::sync::Arc;

use crate::dtype::DType;
use crate::elements::{Buffer, Element, with_float};
use crate::error::ErrorKind;
use crate::ir::{Attrs, Bilinear, Custom, Discrete, Domain, Elementwise, Linear, Op};
use crate::kernels::{philox, uniform_f64};
use crate::shape::Shape;
use crate::tensor::Tensor;

/// What an op of an open kind states, besides its rules, to be registered.
pub trait Registered: Sized {
    /// The op with this plain data.
    fn load(attrs: &Attrs) -> Result<Self, ErrorKind>;
    /// An op with random data, and operands from its own domain.
    fn sample(sampler: &mut Sampler) -> (Self, Vec<Spec>);
    /// Draws the operands that [`sample`](Self::sample) describes, floats as `float`: each by its
    /// [`Spec`], unless the op wants more of them: a matrix that is positive definite, operands that belong together.
    fn draw(operands: &[Spec], float: DType, sampler: &mut Sampler) -> Vec<Tensor> {
        draw_each(operands, float, sampler)
    }
}

/// Draws each operand by its description.
fn draw_each(operands: &[Spec], float: DType, sampler: &mut Sampler) -> Vec<Tensor> {
    operands.iter().map(|spec| spec.draw(float, sampler)).collect()
}

/// An op and the operands it can be tested with.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The op.
    pub op: Op,
    /// How to draw each operand.
    pub operands: Vec<Spec>,
}

type Load = dyn Fn(&Attrs) -> Result<Op, ErrorKind> + Send + Sync;
type Describe = dyn Fn(&mut Sampler) -> Sample + Send + Sync;
type Draw = dyn Fn(&[Spec], DType, &mut Sampler) -> Vec<Tensor> + Send + Sync;

/// A registered op: its name, how to load it, how to sample it.
#[derive(Clone)]
pub struct Entry {
    /// The op's name.
    pub name: &'static str,
    load: Arc<Load>,
    sample: Arc<Describe>,
    draw: Arc<Draw>,
    /// Whether operands of two draws may not be mixed.
    together: bool,
}

impl Entry {
    /// An op by its name, by how to load it, and by how to sample it.
    pub fn new(
        name: &'static str,
        load: impl Fn(&Attrs) -> Result<Op, ErrorKind> + Send + Sync + 'static,
        sample: impl Fn(&mut Sampler) -> Sample + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            load: Arc::new(load),
            sample: Arc::new(sample),
            draw: Arc::new(draw_each),
            together: false,
        }
    }

    /// The same op with operands that are drawn together, floats as the given type: where one [`Spec`] for each
    /// cannot say what they may be.
    ///
    /// ```
    /// use wengert::{DType, Registry, Sampler, Tensor, check::check_entry};
    /// // Subtraction, tried on pairs of which the first is the larger.
    /// let entry = Registry::builtin().find("sub").cloned().expect("a builtin op");
    /// let entry = entry.drawn(|specs, float, sampler| {
    ///     let b = specs[1].draw(float, sampler);
    ///     let more: Vec<f64> = b.to_f64().iter().map(|b| b + 1.0 + sampler.unit()).collect();
    ///     vec![Tensor::new(b.shape(), more).expect("as many numbers"), b]
    /// });
    /// check_entry(&entry, 1)?;
    /// # Ok::<(), wengert::Error>(())
    /// ```
    pub fn drawn(
        self,
        draw: impl Fn(&[Spec], DType, &mut Sampler) -> Vec<Tensor> + Send + Sync + 'static,
    ) -> Self {
        Self { draw: Arc::new(draw), together: true, ..self }
    }

    /// Whether the operands of a sample are more than their descriptions say, so that those of two draws do not mix.
    pub(crate) fn together(&self, operands: &[Spec]) -> bool {
        let plain =
            |s: &mut Sampler| operands.iter().map(|spec| spec.draw(DType::F64, s)).collect::<Vec<Tensor>>();
        let differs = |seed| {
            let mut sampler = Sampler::new(seed);
            self.draw(operands, DType::F64, &mut sampler.clone()) != plain(&mut sampler)
        };
        self.together || (0..16).any(differs)
    }

    /// Draws operands that a [sample](Self::sample) of this op describes, floats as `float`.
    pub fn draw(&self, operands: &[Spec], float: DType, sampler: &mut Sampler) -> Vec<Tensor> {
        (self.draw)(operands, float, sampler)
    }

    /// An op with this plain data. An error where it has no such attributes, or not these.
    pub fn load(&self, attrs: &Attrs) -> Result<Op, ErrorKind> {
        let op = (self.load)(attrs)?;
        match attrs.unlike(&op.attrs()) {
            Some(name) => {
                Err(ErrorKind::Malformed(format!("{} has no attribute {name} that is so", self.name)))
            }
            None => Ok(op),
        }
    }

    /// An op with random data, and operands from its domain.
    pub fn sample(&self, sampler: &mut Sampler) -> Sample {
        (self.sample)(sampler)
    }
}

/// The ops that can be loaded by name, and that the laws in [`check`](crate::check) run over. A
/// crate that defines ops adds them to [`Registry::builtin`].
#[derive(Clone)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// A registry without ops.
    pub fn empty() -> Self {
        Self { entries: Vec::new() }
    }

    /// The registered ops.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The op of this name.
    pub fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }

    /// Adds an op. An error where its name is taken: a tape that is loaded by names must not depend on who
    /// registered last.
    pub fn insert(&mut self, entry: Entry) -> Result<(), ErrorKind> {
        if self.find(entry.name).is_some() {
            return Err(ErrorKind::Argument(format!("there is an op named {} already", entry.name)));
        }
        self.entries.push(entry);
        Ok(())
    }

    /// Adds an elementwise function without plain data; its domain says how to sample it.
    pub fn elementwise<const N: usize>(&mut self, f: impl Elementwise<N> + Copy) -> Result<(), ErrorKind> {
        let op = move || Op::elementwise(f);
        let load = move |attrs: &Attrs| match attrs.is_empty() {
            true => Ok(op()),
            false => Err(ErrorKind::Malformed(format!("{} has no attributes, found {attrs}", f.name()))),
        };
        let sample = move |s: &mut Sampler| {
            let shape = s.shape(3);
            let operands = (0..N).map(|i| Spec::float(shape, f.domain(i))).collect();
            Sample { op: op(), operands }
        };
        self.insert(Entry::new(f.name(), load, sample))
    }

    /// Adds an elementwise function with plain data.
    pub fn elementwise_with<T: Registered + Elementwise<N>, const N: usize>(
        &mut self,
    ) -> Result<(), ErrorKind> {
        self.registered::<T>(Op::elementwise::<N>)
    }

    fn registered<T: Registered + 'static>(&mut self, wrap: fn(T) -> Op) -> Result<(), ErrorKind> {
        let load = move |attrs: &Attrs| T::load(attrs).map(wrap);
        let sample = move |s: &mut Sampler| {
            let (op, operands) = T::sample(s);
            Sample { op: wrap(op), operands }
        };
        // The name is that of any of them.
        let name = wrap(T::sample(&mut Sampler::new(0)).0).name();
        self.insert(Entry { draw: Arc::new(T::draw), ..Entry::new(name, load, sample) })
    }

    /// Adds a discrete op. An error where its name is taken, as for all of these.
    pub fn discrete<T: Registered + Discrete>(&mut self) -> Result<(), ErrorKind> {
        self.registered::<T>(Op::discrete)
    }

    /// Adds a linear op.
    pub fn linear<T: Registered + Linear>(&mut self) -> Result<(), ErrorKind> {
        self.registered::<T>(Op::linear)
    }

    /// Adds a bilinear op.
    pub fn bilinear<T: Registered + Bilinear>(&mut self) -> Result<(), ErrorKind> {
        self.registered::<T>(Op::bilinear)
    }

    /// Adds a custom op.
    pub fn custom<T: Registered + Custom>(&mut self) -> Result<(), ErrorKind> {
        self.registered::<T>(Op::custom)
    }
}

/// How to draw an operand: its shape, and what its elements may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The shape.
    pub shape: Shape,
    /// What the elements may be.
    pub content: Content,
}

/// What the elements of a sampled operand may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Content {
    /// Floats of a domain.
    Float(Domain),
    /// Floats of which no two are close, nor close to those of a class of the other parity.
    Distinct(u8),
    /// `u8`, `u32` or `i64` in `0..below`: the type is that of the remainder by three.
    Index(usize),
    /// Square matrices over the last two axes, with more on their diagonal than beside it: well conditioned, positive definite, and with pivots in order.
    Matrix,
    /// Truth values.
    Bool,
    /// Any `i64`.
    Key,
}

impl Spec {
    /// Floats of a domain.
    pub fn float(shape: Shape, domain: Domain) -> Self {
        Self { shape, content: Content::Float(domain) }
    }
    /// Floats of which no two are close: for ops whose ties are kinks.
    pub fn distinct(shape: Shape) -> Self {
        Self::distinct_from(shape, 0)
    }
    /// The same, and none is close to those of a class of the other parity: for operands whose ties with one another are kinks too.
    pub fn distinct_from(shape: Shape, class: u8) -> Self {
        Self { shape, content: Content::Distinct(class) }
    }
    /// Square matrices over the last two axes that are well conditioned and positive definite, with pivots in order.
    pub fn matrix(shape: Shape) -> Self {
        Self { shape, content: Content::Matrix }
    }
    /// Indices in `0..below`, of a type that depends on `below`.
    pub fn index(shape: Shape, below: usize) -> Self {
        Self { shape, content: Content::Index(below) }
    }
    /// Truth values.
    pub fn bool(shape: Shape) -> Self {
        Self { shape, content: Content::Bool }
    }
    /// Keys of random streams.
    pub fn key(shape: Shape) -> Self {
        Self { shape, content: Content::Key }
    }

    /// Draws the operand; floats as `float`.
    pub fn draw(&self, float: DType, sampler: &mut Sampler) -> Tensor {
        let elements = 0..self.shape.elements();
        let data = match self.content {
            Content::Float(domain) => rounded(float, elements.map(|_| sampler.float(domain)).collect()),
            Content::Distinct(class) => {
                let order = sampler.permutation(self.shape.elements()).into_iter();
                let first = 0.025 * f64::from(class % 2) - 1.0;
                rounded(float, order.map(|i| first + 0.05 * i as f64 + 0.01 * sampler.unit()).collect())
            }
            Content::Matrix => {
                let n = self.shape.last().copied().unwrap_or(1).max(1);
                let number = |at: usize| {
                    let u = sampler.unit();
                    let diagonal = (at % (n * n)).is_multiple_of(n + 1);
                    if diagonal { 0.8 + 0.4 * u } else { 0.6 / n as f64 * (2.0 * u - 1.0) }
                };
                rounded(float, elements.map(number).collect())
            }
            // Of every type that indexes, as the number of places falls out.
            Content::Index(below) => match below % 3 {
                0 if below <= 256 => u8::buffer(elements.map(|_| sampler.below(below) as u8).collect()),
                1 => u32::buffer(elements.map(|_| sampler.below(below) as u32).collect()),
                _ => i64::buffer(elements.map(|_| sampler.below(below) as i64).collect()),
            },
            Content::Bool => bool::buffer(elements.map(|_| sampler.below(2) != 0).collect()),
            Content::Key => i64::buffer(elements.map(|_| sampler.bits() as i64).collect()),
        };
        Tensor::from_parts(self.shape, data)
    }
}

/// Numbers as a type of floats keeps them; as f64 of any other type.
fn rounded(dtype: DType, numbers: Vec<f64>) -> Buffer {
    with_float!(dtype, T => T::buffer(numbers.into_iter().map(T::from_f64).collect()), f64::buffer(numbers))
}

/// A seeded source of shapes and numbers for tests: the same seed, the same samples.
#[derive(Clone, Debug)]
pub struct Sampler {
    key: u64,
    drawn: u64,
}

impl Sampler {
    /// The samples of this seed.
    pub fn new(seed: u64) -> Self {
        Self { key: seed, drawn: 0 }
    }

    /// 64 random bits.
    #[inline(never)]
    pub fn bits(&mut self) -> u64 {
        self.drawn += 1;
        let [a, b, ..] = philox([self.drawn as u32, (self.drawn >> 32) as u32, 0, 1], self.key);
        u64::from(a) << 32 | u64::from(b)
    }

    /// A whole number in `0..n`; 0 for `n = 0`.
    #[inline(never)]
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.bits() % n as u64) as usize }
    }

    /// A number in [0, 1).
    #[inline(never)]
    pub fn unit(&mut self) -> f64 {
        let bits = self.bits();
        uniform_f64(bits, 0)
    }

    /// A number of a domain, of magnitude about one and not close to its borders.
    #[inline(never)]
    pub fn float(&mut self, domain: Domain) -> f64 {
        let u = self.unit();
        match domain {
            Domain::All => 4.0 * u - 2.0,
            Domain::Positive => 0.3 + 2.0 * u,
            Domain::NonZero => (0.3 + 1.5 * u) * if self.below(2) == 0 { 1.0 } else { -1.0 },
            Domain::Between(low, high) => low + (high - low) * (0.05 + 0.9 * u),
            Domain::Apart(class) => {
                let cell = self.below(16) as f64 - 8.0;
                (cell + f64::from(class % 4) / 4.0 + 0.1 * u) / 4.0
            }
        }
    }

    /// The shape of square matrices, at times in batches; now and then of more rows than a block of elimination has.
    #[cfg(feature = "linalg")]
    pub(crate) fn matrices(&mut self, least: usize) -> Shape {
        let n = if self.below(24) == 0 { 50 + self.below(4) } else { least + self.below(5) };
        let batch = if n > 8 || self.below(2) == 0 { vec![] } else { vec![self.below(5)] };
        Shape::new(&[&batch[..], &[n, n]].concat()).unwrap_or(Shape::SCALAR)
    }

    /// A size: mostly 1 to 4, at times `least`, and now and then more than a register or two hold.
    #[inline(never)]
    pub fn size(&mut self, least: usize) -> usize {
        match self.below(48) {
            0..4 => least,
            4 => 17 + self.below(24),
            _ => (1 + self.below(4)).max(least),
        }
    }

    /// A shape of at most `most` axes; at times a scalar, at times empty.
    #[inline(never)]
    pub fn shape(&mut self, most: usize) -> Shape {
        let rank = self.below(most + 1);
        self.shape_of(rank, 0)
    }

    /// A shape of `rank` axes, each at least `least`.
    #[inline(never)]
    pub fn shape_of(&mut self, rank: usize, least: usize) -> Shape {
        let dims: Vec<usize> = (0..rank).map(|_| self.size(least)).collect();
        Shape::new(&dims).unwrap_or(Shape::SCALAR)
    }

    /// The numbers `0..n` in random order.
    #[inline(never)]
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut p: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            p.swap(i, self.below(i + 1));
        }
        p
    }
}
