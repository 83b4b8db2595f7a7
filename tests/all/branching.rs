//! Functions that branch: what happens where a branch goes another way.

use wengert::{BranchPolicy, Branches, ErrorKind, Tensor};

fn magnitude(policy: BranchPolicy) -> Branches {
    Branches::new(policy, |_, x| {
        let total = x[0].sum(());
        let y = if total.gt(0.0).decide()? { total } else { -total };
        Ok(vec![y, y.gradients(x[0])[x[0]]])
    })
}

fn array(numbers: &[f64]) -> Tensor {
    Tensor::new([numbers.len()], numbers.to_vec()).expect("a tensor")
}

fn numbers(f: &Branches, x: &[f64]) -> (f64, Vec<f64>) {
    let found = f.call(&[array(x)]).expect("numbers");
    (found[0].item().expect("one"), found[1].to_f64())
}

#[test]
fn an_outcome_that_was_not_recorded_is_an_error() {
    let f = magnitude(BranchPolicy::Error);
    assert_eq!(numbers(&f, &[1.0, 2.0]), (3.0, vec![1.0, 1.0]));
    assert_eq!(numbers(&f, &[5.0, -2.0]), (3.0, vec![1.0, 1.0]));
    let error = f.call(&[array(&[-1.0, -2.0])]).expect_err("another way");
    assert!(matches!(error.kind(), ErrorKind::Guard { recorded: true, found: false }), "{error}");
    assert!(error.to_string().contains("branching.rs"), "{error}");
    let error = f.call(&[array(&[1.0])]).expect_err("another shape").to_string();
    assert!(error.contains("[2]") && error.contains("[1]"), "{error}");
    assert_eq!(f.programs(), 1);
}

#[test]
fn it_is_recorded_anew() {
    let f = magnitude(BranchPolicy::Record);
    for x in [[1.0, 2.0], [-1.0, -2.0], [3.0, 4.0]] {
        let sign = if x[0] > 0.0 { 1.0 } else { -1.0 };
        assert_eq!(numbers(&f, &x), (sign * (x[0] + x[1]), vec![sign; 2]));
        assert_eq!(f.programs(), 1);
    }
}

#[test]
fn one_program_is_kept_for_each_outcome_and_shape() {
    let recorded = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = recorded.clone();
    let f = Branches::new(BranchPolicy::Keep(3), move |_, x| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let y = x[0].sum(());
        Ok(vec![if y.gt(0.0).decide()? { y } else { y * -2.0 }])
    });
    let call = |x: &[f64]| f.call(&[array(x)]).expect("numbers")[0].item().expect("one");
    let times = || recorded.load(std::sync::atomic::Ordering::Relaxed);
    for _ in 0..3 {
        assert_eq!((call(&[1.0]), call(&[-1.0]), call(&[1.0, 1.0])), (1.0, 2.0, 2.0));
    }
    assert_eq!((times(), f.programs()), (3, 3));
    // The one that was used longest ago gives way.
    assert_eq!((call(&[-1.0, -1.0]), f.programs(), times()), (4.0, 3, 4));
    assert_eq!((call(&[-1.0]), call(&[1.0, 1.0]), times()), (2.0, 2.0, 4));
    assert_eq!((call(&[1.0]), times()), (1.0, 5));
    // From many threads.
    std::thread::scope(|s| {
        for i in 0..4 {
            let call = &call;
            s.spawn(move || {
                assert_eq!(call(&[f64::from(i) - 1.5]), (f64::from(i) - 1.5) * if i > 1 { 1.0 } else { -2.0 })
            });
        }
    });
    // What fails while it is recorded leaves nothing behind, and what looks at a value without a branch fails.
    let f = Branches::new(BranchPolicy::Keep(3), |t, x| {
        let seen = x[0].value()?.item()?;
        Ok(vec![t.constant(seen)])
    });
    assert!(matches!(f.call(&[Tensor::scalar(1.0)]).expect_err("observed").kind(), ErrorKind::Observed));
    assert_eq!(f.programs(), 0);
}
