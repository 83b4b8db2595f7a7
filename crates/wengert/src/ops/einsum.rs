//! Einstein's sums as users write them: any number of operands, diagonals, ellipses, an implied result.

use super::contract::Contract;
use crate::error::{ErrorKind, ShapeError};
use crate::ir::{Contraction, IntoVars, Labels, Op, Recorder, Var};
use crate::shape::{MAX_RANK, Shape};

/// An operand, and the letters of its axes.
struct Term<'t> {
    x: Var<'t>,
    letters: Vec<u8>,
}

/// What a spec says: the letters of each operand and of the result.
struct Spec {
    operands: Vec<Vec<u8>>,
    out: Vec<u8>,
}

impl Spec {
    /// Reads a spec for operands of these shapes, and holds it against them.
    fn parse(text: &str, shapes: &[Shape]) -> Result<Self, ErrorKind> {
        let wrong = |what: String| ErrorKind::Argument(format!("`{text}`: {what}"));
        let (inputs, out) = match text.split_once("->") {
            Some((inputs, out)) => (inputs, Some(out)),
            None => (text, None),
        };
        let inputs: Vec<&str> = inputs.split(',').collect();
        if inputs.len() != shapes.len() {
            return Err(wrong(format!("it names {} operands, there are {}", inputs.len(), shapes.len())));
        }
        let sides = inputs
            .iter()
            .map(|side| Side::parse(side))
            .chain(out.map(Side::parse))
            .collect::<Result<Vec<Side>, String>>()
            .map_err(wrong)?;
        let (operands, out) = sides.split_at(inputs.len());
        // How many axes an ellipsis stands for, of the operand that has most.
        let mut hidden = 0;
        for (i, (side, shape)) in operands.iter().zip(shapes).enumerate() {
            let (named, rank) = (side.named(), shape.rank());
            if named > rank || (named < rank && !side.ellipsis) {
                return Err(wrong(format!("operand {i} has {rank} axes, not {named}")));
            }
            hidden = hidden.max(rank - named);
        }
        let used: Vec<u8> = sides.iter().flat_map(|s| s.before.iter().chain(&s.behind)).copied().collect();
        let free = (b'A'..=b'Z').chain(b'a'..=b'z').filter(|l| !used.contains(l));
        let hidden: Vec<u8> = free.take(hidden).collect();
        let spelled = |side: &Side, rank: usize| {
            let own = &hidden[hidden.len().saturating_sub(rank.saturating_sub(side.named()))..];
            [&side.before[..], if side.ellipsis { own } else { &[] }, &side.behind[..]].concat()
        };
        let letters: Vec<Vec<u8>> =
            operands.iter().zip(shapes).map(|(side, shape)| spelled(side, shape.rank())).collect();
        let out = match out.first() {
            Some(side) => spelled(side, usize::MAX),
            None => {
                let times = |l: &u8| letters.iter().flatten().filter(|m| *m == l).count();
                let once = (b'A'..=b'z').filter(|l| used.contains(l) && times(l) == 1);
                hidden.iter().copied().chain(once).collect()
            }
        };
        if hidden.iter().any(|l| !out.contains(l)) {
            return Err(wrong("the result lacks the `...` of its operands".into()));
        }
        for (i, letter) in out.iter().enumerate() {
            if out[..i].contains(letter) {
                return Err(wrong(format!("the result has `{}` twice", *letter as char)));
            }
            if !letters.iter().flatten().any(|l| l == letter) {
                return Err(wrong(format!("`{}` of the result is in no operand", *letter as char)));
            }
        }
        Ok(Self { operands: letters, out })
    }
}

/// The letters of one operand, before and behind an ellipsis, or all of them.
struct Side {
    before: Vec<u8>,
    behind: Vec<u8>,
    ellipsis: bool,
}
impl Side {
    fn parse(text: &str) -> Result<Self, String> {
        let (before, behind) = text.split_once("...").map_or((text, None), |(a, b)| (a, Some(b)));
        let letters = |text: &str| -> Result<Vec<u8>, String> {
            let solid = text.chars().filter(|c| !c.is_whitespace());
            let letter = |c: char| {
                let letter = u8::try_from(c).ok().filter(u8::is_ascii_alphabetic);
                letter.ok_or_else(|| format!("`{c}` is no letter, and `...` stands once at most"))
            };
            solid.map(letter).collect()
        };
        let (ellipsis, behind) = (behind.is_some(), behind.unwrap_or_default());
        Ok(Self { before: letters(before)?, behind: letters(behind)?, ellipsis })
    }
    fn named(&self) -> usize {
        self.before.len() + self.behind.len()
    }
}

impl<'t> Term<'t> {
    /// Takes the diagonal of axes that share a letter.
    #[track_caller]
    fn diagonals(mut self) -> Self {
        while let Some((i, j)) = self.repeated() {
            let rest = (0..self.x.rank()).filter(|axis| *axis != i && *axis != j);
            let order: Vec<usize> = [i, j].into_iter().chain(rest).collect();
            let (size, x) = (self.x.dim(i), self.x.permute(order));
            let rest = x.shape().remove(0, 2);
            let flat = x.reshape([&[size.saturating_mul(size)], &rest[..]].concat());
            self.x = flat.slice_step(0, 0, size as isize + 1, size);
            let letter = self.letters[i];
            self.letters.retain(|l| *l != letter);
            self.letters.insert(0, letter);
        }
        self
    }

    /// Two axes with one letter.
    fn repeated(&self) -> Option<(usize, usize)> {
        let pairs = (0..self.letters.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
        pairs.into_iter().find(|&(i, j)| self.letters[i] == self.letters[j])
    }

    /// Drops the axes of size 1 of an ellipsis that others repeat.
    #[track_caller]
    fn without_ones(mut self, size: &dyn Fn(u8) -> usize) -> Self {
        for axis in (0..self.letters.len()).rev() {
            if self.x.dim(axis) == 1 && size(self.letters[axis]) != 1 {
                self.x = self.x.squeeze(axis);
                self.letters.remove(axis);
            }
        }
        self
    }

    /// Sums over the letters that nobody else needs.
    #[track_caller]
    fn summed(mut self, needed: &dyn Fn(u8) -> bool) -> Self {
        let alone: Vec<usize> = (0..self.letters.len()).filter(|&i| !needed(self.letters[i])).collect();
        if !alone.is_empty() {
            self.x = self.x.sum(&alone);
            self.letters.retain(|l| needed(*l));
        }
        self
    }
}

impl Recorder {
    /// A product of arrays summed over labelled axes, in Einstein's notation as NumPy reads it: a letter for each axis; letters that the
    /// result lacks are summed over. Without `->` the result has the letters that stand once, in alphabetical order; `...` stands for
    /// axes in front that broadcast; a letter twice in one operand is a diagonal. Of more than two operands those are multiplied first
    /// whose product saves most memory.
    ///
    /// *Shape*: the letters of the result. *Derivative*: the product of the other, summed over its own letters.
    ///
    /// ```
    /// use ndarray::array;
    /// let t = wengert::Recorder::default();
    /// let a = t.constant(array![[1.0, 2.0], [3.0, 4.0]]);
    /// assert_eq!(t.einsum("ii", a).value()?.item()?, 5.0);
    /// assert_eq!(t.einsum("ij,jk,kl->il", [a, a, a]).value()?, a.matmul(a).matmul(a).value()?);
    /// assert_eq!(t.einsum("...i,i", [a, a.at(0)]).value()?.to_f64(), [5.0, 11.0]);
    /// # Ok::<(), wengert::Error>(())
    /// ```
    #[track_caller]
    pub fn einsum<'t, M>(&'t self, spec: &str, operands: impl IntoVars<'t, M>) -> Var<'t> {
        let operands = operands.into_vars();
        let shapes: Vec<Shape> = operands.iter().map(|x| x.shape()).collect();
        let read = Spec::parse(spec, &shapes)
            .and_then(|read| sizes(spec, &read, &shapes).map(|sizes| (read, sizes)));
        match (read, operands.first()) {
            (Ok((read, sizes)), Some(_)) => self.operation("einsum", || {
                let size = |letter: u8| sizes.iter().find(|(l, _)| *l == letter).map_or(1, |(_, size)| *size);
                let terms = operands.iter().zip(read.operands);
                let terms = terms.map(|(&x, letters)| Term { x, letters }.without_ones(&size).diagonals());
                self.contracted(terms.collect(), &read.out, &size)
            }),
            (Err(kind), Some(first)) => self.fail_like(kind, "einsum", first.ty()),
            (_, None) => self.fail(ErrorKind::Argument("there are no arrays to multiply".into()), "einsum"),
        }
    }

    /// Multiplies terms two by two until one is left, and brings that into order.
    #[track_caller]
    fn contracted<'t>(&'t self, mut terms: Vec<Term<'t>>, out: &[u8], size: &dyn Fn(u8) -> usize) -> Var<'t> {
        while terms.len() > 1 {
            let (i, j) = next_pair(&terms, out, size);
            let (b, a) = (terms.remove(j), terms.remove(i));
            let others = |l: u8| out.contains(&l) || terms.iter().any(|t| t.letters.contains(&l));
            let (left, right) = (a.letters.clone(), b.letters.clone());
            let a = a.summed(&|l| others(l) || right.contains(&l));
            let b = b.summed(&|l| others(l) || left.contains(&l));
            let last = terms.is_empty();
            let letters: Vec<u8> = if last {
                out.iter().copied().filter(|l| left.contains(l) || right.contains(l)).collect()
            } else {
                let own = b.letters.iter().filter(|l| !a.letters.contains(l));
                a.letters.iter().chain(own).copied().filter(|&l| others(l)).collect()
            };
            if letters.len() > MAX_RANK {
                let kind = ShapeError::TooManyAxes { rank: letters.len(), most: MAX_RANK };
                return self.fail_like(kind, "einsum", a.x.ty());
            }
            let labels = |letters: &[u8]| -> Labels { letters.iter().copied().collect() };
            let names = Contraction {
                lhs: labels(&a.letters),
                rhs: labels(&b.letters),
                out: labels(&letters),
                gates: 0,
            };
            let x = self.emit_one(Op::bilinear(Contract(names)), &[a.x, b.x]);
            terms.push(Term { x, letters });
        }
        let Some(term) = terms.pop() else { return self.full(crate::dtype::DType::F64, [], 1.0) };
        let Term { x, letters } = term.summed(&|l| out.contains(&l));
        x.permute(out.iter().filter_map(|l| letters.iter().position(|m| m == l)).collect::<Vec<_>>())
    }
}

/// The size that a letter has wherever it stands; of an ellipsis's, 1 where all are.
fn sizes(text: &str, spec: &Spec, shapes: &[Shape]) -> Result<Vec<(u8, usize)>, ErrorKind> {
    let hidden = |letter: u8| !text.bytes().any(|l| l == letter);
    let mut sizes: Vec<(u8, usize)> = Vec::new();
    for (letters, shape) in spec.operands.iter().zip(shapes) {
        for (&letter, &size) in letters.iter().zip(shape.iter()) {
            match sizes.iter_mut().find(|(l, _)| *l == letter) {
                None => sizes.push((letter, size)),
                Some((_, known)) if *known == size || (hidden(letter) && size == 1) => {}
                Some((_, known)) if hidden(letter) && *known == 1 => *known = size,
                Some((_, known)) => {
                    let (label, spec, sizes) = (letter as char, text.to_string(), (*known, size));
                    return Err(ShapeError::Label { label, spec, sizes }.into());
                }
            }
        }
    }
    Ok(sizes)
}

/// The pair whose product takes the least memory beyond its operands (Smith and Gray, "opt_einsum", 2018).
fn next_pair(terms: &[Term<'_>], out: &[u8], size: &dyn Fn(u8) -> usize) -> (usize, usize) {
    let elements = |letters: &[u8]| letters.iter().fold(1.0, |all, &l| all * size(l) as f64);
    let cost = |&(i, j): &(usize, usize)| {
        let (a, b) = (&terms[i].letters, &terms[j].letters);
        let others = |l: &u8| {
            let rest = terms.iter().enumerate().filter(|(k, _)| *k != i && *k != j);
            out.contains(l) || rest.into_iter().any(|(_, t)| t.letters.contains(l))
        };
        let more = b.iter().filter(|l| !a.contains(l));
        let kept: Vec<u8> = a.iter().chain(more).copied().filter(others).collect();
        elements(&kept) - elements(a) - elements(b)
    };
    let pairs = (0..terms.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
    pairs.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or((0, 1))
}
