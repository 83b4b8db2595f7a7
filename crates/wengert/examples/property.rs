//! A property test of a gradient, in three lines.

use proptest::prelude::*;
use wengert::check::{Options, gradcheck};
use wengert::{Tensor, Var};

/// What is tested: a distance on the circle.
fn distance<'t>(x: Var<'t>, y: Var<'t>) -> Var<'t> {
    1 - (x - y).cos().mean(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]
    fn gradients_are_those_of_differences(x in prop::collection::vec(-3.0..3.0, 4), y in prop::collection::vec(-3.0..3.0, 4)) {
        let point = [x, y].map(|v| Tensor::new([4], v).unwrap());
        let report = gradcheck(|_, x| distance(x[0], x[1]), &point, &Options::default());
        prop_assert!(report.is_ok(), "{:?}", report);
    }
}

/// Runs the example.
pub fn main() {
    gradients_are_those_of_differences();
    println!("32 gradients agree with differences");
}
