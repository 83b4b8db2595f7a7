//! An op of one's own: its text serves every instruction set, its rule both modes and every order.

use wengert::check::{Options, gradcheck};
use wengert::ir::{Elementwise, Op, Partial};
use wengert::{Lane, Result, Tensor, Var};

/// `x / √(1 + x²)`, a sigmoid without exponentials.
#[derive(Clone, Copy)]
struct Algebraic;

impl Elementwise<1> for Algebraic {
    fn name(&self) -> &'static str {
        "example::algebraic"
    }
    fn eval<L: Lane>(&self, [x]: [L; 1]) -> L {
        x / (x * x + L::splat(1.0)).sqrt()
    }
    fn partial<'t>(&self, _: usize, [x]: [Var<'t>; 1], _: Var<'t>) -> Partial<'t> {
        Partial::Factor((x * x + 1).pow(-1.5))
    }
}

fn algebraic(x: Var<'_>) -> Var<'_> {
    x.recorder().emit_one(Op::elementwise(Algebraic), &[x])
}

/// Runs the example.
pub fn main() -> Result<()> {
    let x = Tensor::new([4], vec![-2.0, -0.5, 0.1, 3.0])?;
    let report = gradcheck(|_, x| algebraic(x[0]), &[x], &Options { order: 2, ..Options::default() })?;
    println!("first and second derivatives agree with differences within {:.1e}", report.worst);

    let f = wengert::Function::new(3, |x| algebraic(x).sum(()))?;
    let mut hessian = [0.0; 9];
    f.hessian(&[0.0, 1.0, 2.0], &mut hessian)?;
    println!("its curvature at 1 is {:.6}", hessian[4]);
    assert!((hessian[4] + 3.0 * 2f64.powf(-2.5)).abs() < 1e-14);
    Ok(())
}
