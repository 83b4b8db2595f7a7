//! What people of NumPy, PyTorch and JAX write, against numbers that were worked out by hand or by plain loops.
#![allow(clippy::op_ref, clippy::reversed_empty_ranges, clippy::needless_borrows_for_generic_args)] // they are what is tried

use crate::{error, value};
use ndarray::{Array1, Axis, Slice, array, s};
use wengert::DType::{Bool, F32, F64, I64, U8, U32};
use wengert::{Keep, Program, Recorder, States, Var};

#[test]
fn numbers_of_any_type_stand_beside_variables() {
    let t = Recorder::default();
    let x = t.constant(array![1.0f32, -2.0]);
    assert_eq!(value(x * 2), [2.0, -4.0]);
    assert_eq!(value(2 * x + 1u8 - 0.5), [2.5, -3.5]);
    assert_eq!(value((2.0 * x).abs() / 4i64), [0.5, 1.0]);
    assert_eq!(value(x * 2.0f32 - 1usize), [1.0, -5.0]);
    assert_eq!(value(&x + &x), [2.0, -4.0]);
    assert_eq!(value(x - &array![1.0f32, 1.0]), [0.0, -3.0]);
    assert_eq!(x.dtype(), (1.5f64 * x).dtype());
    let mut y = x;
    y += 1;
    y *= x;
    y -= 2.0;
    y /= 2;
    assert_eq!(value(y), [0.0, 0.0]);
    let terms = [x, x, x];
    assert_eq!(value(terms.iter().sum()), [3.0, -6.0]);
    assert_eq!(value(terms.into_iter().product()), [1.0, -8.0]);
    let text = error(|t| t.constant(1.0) + Vec::<Var<'_>>::new().into_iter().sum::<Var<'_>>());
    assert!(text.contains("the sum of no variables"), "{text}");
    assert!(error(|t| t.constant(1u8) + 0.5).contains("u8 cannot hold 0.5"));
}

#[test]
fn integers_have_arithmetic() {
    let t = Recorder::default();
    let i = t.constant(array![3i64, -7, i64::MAX]);
    assert_eq!(i.dtype(), (i + 1).dtype());
    assert_eq!((i + 1).value().unwrap().as_slice::<i64>().unwrap(), [4, -6, i64::MIN]);
    assert_eq!((-i).value().unwrap().as_slice::<i64>().unwrap(), [-3, 7, -i64::MAX]);
    assert_eq!((i - i64::MAX).value().unwrap().as_slice::<i64>().unwrap()[2], 0);
    assert_eq!(value((2 * i).minimum(5).at(0)), [5.0]);
    assert_eq!((i.min(0)).value().unwrap().as_slice::<i64>().unwrap(), [-7]);
    assert_eq!((i.max(())).value().unwrap().as_slice::<i64>().unwrap(), [i64::MAX]);
    let small = t.constant(array![[200u8, 100], [255, 0]]);
    assert_eq!(value(small + 100u8), [44.0, 200.0, 99.0, 100.0]);
    assert_eq!(value(small.sum(1)), [300.0, 255.0]);
    assert_eq!((small.sum(()).dtype(), small.max(0).dtype()), (I64, U8));
    assert_eq!(value(small.min(Keep(0))), [200.0, 0.0]);
    assert_eq!(value(small.argmin(1)), [1.0, 1.0]);
    assert_eq!(value(t.constant(array![7u32, u32::MAX]).min(())), [7.0]);
    let best = t.constant(array![[1.0, 5.0], [3.0, 2.0]]).argmax(1);
    assert_eq!(value(best + t.constant([0, 2])), [1.0, 2.0]);
    assert_eq!(value(best.eq(1)), [1.0, 0.0]);
    assert_eq!(value(t.constant(vec![4usize, 2]).pow(2)), [16.0, 4.0]);
    assert!(error(|t| t.constant(1i64) / 2).contains("expected f32 or f64, found i64"));
    assert!(error(|t| -t.constant(1u8)).contains("u8 cannot hold -1"));

    // A counter as a state.
    let mut states = States::new();
    let count = states.add("count", 0i64).unwrap();
    let tick = Program::record(&states, |t| {
        let count = t.state(count);
        t.update(count, count + 1);
        t.outputs(count * 10)
    });
    let tick = tick.unwrap();
    let mut workspace = tick.workspace().unwrap();
    for i in 0..3 {
        let results = tick.run(&mut workspace, &mut states, ()).unwrap();
        assert_eq!(results.item::<i64>(0).unwrap(), 10 * i);
    }
    assert_eq!(states.get(count).unwrap().item().unwrap(), 3.0);
}

/// Sums that are cut into partial ones, and added to others.
#[test]
fn long_sums_of_integers_are_exact_on_any_number_of_threads() {
    let program = Program::record(&States::new(), |t| {
        let x = t.input(I64, [3000, 70]);
        t.outputs([
            x.sum(0),
            x.sum(1) + x.slice(1, 0..1).reshape([-1]),
            (x.sum(()) + 1) * 3,
            x.gt(0).count(()),
        ])
    });
    let program = program.unwrap();
    let x = ndarray::Array2::from_shape_fn((3000, 70), |(i, j)| (i as i64 * 7919 - j as i64 * 104_729) << 10);
    let states = States::new();
    for threads in [1, 2, 3] {
        let mut workspace = program.workspace_on(threads).unwrap();
        let results = program.evaluate(&mut workspace, &states, &x).unwrap();
        let columns: Vec<i64> = x.columns().into_iter().map(|c| c.iter().sum()).collect();
        assert_eq!(results.slice::<i64>(0).unwrap(), columns);
        let rows: Vec<i64> = x.rows().into_iter().map(|r| r.iter().sum::<i64>() + r[0]).collect();
        assert_eq!(results.slice::<i64>(1).unwrap(), rows);
        assert_eq!(results.item::<i64>(2).unwrap(), (x.iter().sum::<i64>() + 1) * 3);
        assert_eq!(results.item::<i64>(3).unwrap(), x.iter().filter(|x| **x > 0).count() as i64);
    }
}

#[test]
fn masks_have_logic() {
    let t = Recorder::default();
    let x = t.constant(array![-1.0, 0.5, f64::NAN]);
    let (low, high) = (x.gt(0.0), x.lt(1.0));
    assert_eq!(value(low & high), [0.0, 1.0, 0.0]);
    assert_eq!(value(low | high), [1.0, 1.0, 0.0]);
    assert_eq!(value(low ^ high), [1.0, 0.0, 0.0]);
    assert_eq!(value(!low), [1.0, 0.0, 1.0]);
    assert_eq!(value(low & true), value(low));
    assert_eq!(value(x.ne(0.5)), [1.0, 0.0, 1.0]);
    assert_eq!(value(x.le(0.5) | x.ge(7)), [1.0, 1.0, 0.0]);
    assert_eq!(
        (value(low.any(())), value(low.all(())), value(high.count(()))),
        (vec![1.0], vec![0.0], vec![2.0])
    );
    let none = t.full(Bool, [0, 2], 0.0);
    assert_eq!((value(none.any(0)), value(none.all(0))), (vec![0.0; 2], vec![1.0; 2]));
    assert_eq!(value(low.select(1.0, x))[..2], [-1.0, 1.0]);
    assert_eq!(value(low.select(1, 0)), [0.0, 1.0, 0.0]);
    assert_eq!(low.select(1.0f32, 0.0).dtype(), F32);
    assert_eq!(value(low.select(&array![1.0, 2.0, 3.0], 0)), [0.0, 2.0, 0.0]);
    assert!(error(|t| t.constant(1.0) & true).contains("f64"));
    assert!(error(|t| !t.constant(1.0)).contains("expected bool, found f64"));
}

#[test]
fn axes_are_named_from_either_end_and_may_stay() {
    let t = Recorder::default();
    let x = t.constant(array![[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], [[7.0, 8.0, 9.0], [10.0, 11.0, 12.0]]]);
    assert_eq!(value(x.sum(-1)), [6.0, 15.0, 24.0, 33.0]);
    assert_eq!(value(x.sum([0, -1])), [30.0, 48.0]);
    assert_eq!(value(x.sum(Axis(2))), value(x.sum(2usize)));
    assert_eq!(value(x.sum(vec![-1i64, -2])), [21.0, 57.0]);
    assert_eq!(value(x.sum(&[1usize, 2][..])), [21.0, 57.0]);
    assert_eq!(x.max(Keep([0, 2])).shape(), [1, 2, 1]);
    assert_eq!(value(x.max(Keep([0, 2]))), [9.0, 12.0]);
    assert_eq!(x.mean(Keep(())).shape(), [1, 1, 1]);
    assert_eq!(x.logsumexp(Keep(1)).shape(), [2, 1, 3]);
    assert_eq!(x.argmax(Keep(-2)).shape(), [2, 1, 3]);
    assert_eq!(x.gt(2).any(Keep(0)).shape(), [1, 2, 3]);
    assert_eq!(value((x / x.sum_keep(-1)).sum(-1)), [1.0; 4]);
    assert_eq!((x.dim(-1), x.insert_axis(-1).shape()[3], x.insert_axis(-4).shape()[0]), (3, 1, 1));
    assert_eq!(x.permute([-1, 0, 1]).shape(), [3, 2, 2]);
    assert_eq!(value(x.swap_axes(0, 2).at(0)), [1.0, 7.0, 4.0, 10.0]);
    assert!(error(|t| t.constant(array![1.0]).sum(-2)).contains("no axis -2; the array has one axis"));
    assert!(error(|t| t.constant(array![[1.0]]).sum([1, -1])).contains("axis 1 is named twice"));
    assert!(error(|t| t.constant(array![[1.0]]).argmax([0, 1])).contains("one axis expected"));
}

#[test]
fn shapes_come_in_every_form_and_may_leave_one_size_open() {
    let t = Recorder::default();
    let (rows, columns) = (2usize, 3usize);
    let like = ndarray::Array2::<f32>::zeros((rows, columns));
    let x = t.full(F64, (rows, columns), 1.0);
    for other in
        [t.full(F64, [rows, 3], 1.0), t.full(F64, vec![rows, 3], 1.0), t.full(F64, like.raw_dim(), 1.0)]
    {
        assert_eq!(other.shape(), x.shape());
    }
    assert_eq!(
        (t.input(F64, 5).shape(), t.input(F64, ()).rank(), t.input(F64, []).rank()),
        (t.input(F64, [5]).shape(), 0, 0)
    );
    assert_eq!(x.reshape(-1).shape(), [6]);
    assert_eq!(x.reshape([columns, rows]).shape(), [3, 2]);
    assert_eq!(x.reshape((-1, 2)).shape(), [3, 2]);
    assert_eq!(x.reshape([1, -1, 1]).squeeze([0, -1]).shape(), [6]);
    assert_eq!(t.full(F64, [1, 1], 2.0).squeeze(()).rank(), 0);
    assert_eq!(x.reshape(x.shape()).shape(), x.broadcast_to(&x.shape()).shape());
    assert!(error(|t| t.input(F64, [6]).reshape([4, -1])).contains("6 elements do not fill"));
    assert!(error(|t| t.input(F64, [6]).reshape([-1, -1])).contains("two sizes are"));
    assert!(error(|t| t.input(F64, [6]).reshape([-2, -3])).contains("an axis of size -2"));
    assert!(error(|t| t.input(F64, [0]).reshape([0, -1])).contains("do not fill"));
    assert!(error(|t| t.input(F64, [2, 3]).squeeze(0)).contains("axis 0 of [2, 3]"));
}

#[test]
fn parts_are_taken_and_put_together_as_ndarray_does_it() {
    let array = ndarray::Array3::from_shape_fn((4, 3, 5), |(i, j, k)| (100 * i + 10 * j + k) as f64);
    let t = Recorder::default();
    let x = t.constant(&array);
    let same = |found: Var<'_>, due: ndarray::ArrayViewD<'_, f64>| {
        assert_eq!(&found.shape()[..], due.shape());
        assert_eq!(value(found), due.iter().copied().collect::<Vec<_>>());
    };
    same(x.at(-1), array.slice(s![-1, .., ..]).into_dyn());
    same(x.part(s![1.., ..2, ..;2]), array.slice(s![1.., ..2, ..;2]).into_dyn());
    same(x.part(s![.., -1, 1..-1]), array.slice(s![.., -1, 1..-1]).into_dyn());
    same(x.part(s![..;-1, .., 3..;-2]), array.slice(s![..;-1, .., 3..;-2]).into_dyn());
    same(x.part(s![2..2, ..]), array.slice(s![2..2, .., ..]).into_dyn());
    same(x.part(s![0, ndarray::NewAxis, 1..]), array.slice(s![0, ndarray::NewAxis, 1.., ..]).into_dyn());
    assert_eq!(x.slice(0, 3..-2).shape(), [0, 3, 5]);
    same(x.slice(1, 1..=-1), array.slice(s![.., 1.., ..]).into_dyn());
    same(x.slice(-1, Slice::from(1..).step_by(-2)), array.slice(s![.., .., 1..;-2]).into_dyn());
    same(x.flip([0, 2]), array.slice(s![..;-1, .., ..;-1]).into_dyn());
    let halves = x.split([1, 3], 0);
    same(t.concat(&halves, 0), array.view().into_dyn());
    same(t.stack((0..4).map(|i| x.at(i)), 0), array.view().into_dyn());
    same(t.stack((x.at(0), x.at(1)), -1).at(2).at(4), array![24.0, 124.0].view().into_dyn());
    same(x.roll(-6, 2).roll(1, -1), array.view().into_dyn());
    let mut changed = array.clone();
    changed.slice_mut(s![1, .., ..;2]).fill(7.0);
    same(x.set_part(s![1, .., ..;2], 7), changed.view().into_dyn());
    changed
        .slice_mut(s![.., 0, 1..])
        .zip_mut_with(&array![1.0, 2.0, 3.0, 4.0].broadcast((4, 4)).unwrap(), |a, b| *a += b);
    same(
        x.set_part(s![1, .., ..;2], 7).add_part(s![.., 0, 1..], &array![1.0, 2.0, 3.0, 4.0]),
        changed.view().into_dyn(),
    );
    let padded = x.pad([(1, 0), (0, 0), (0, 2)], -1.0);
    assert_eq!(padded.shape(), [5, 3, 7]);
    same(padded.part(s![1.., .., ..-2]), array.view().into_dyn());
    assert_eq!(value(padded.part(s![0, .., 0])), [-1.0; 3]);
    let integers = t.constant([1, 2, 3]);
    assert_eq!(value(integers.add_part(s![1..], 10)), [1.0, 12.0, 13.0]);
    assert_eq!(value(t.concat([integers, integers.flip(0)], 0)), [1.0, 2.0, 3.0, 3.0, 2.0, 1.0]);
    // A zero keeps its sign.
    assert!(
        t.concat([t.constant([-0.0]), t.constant([1.0])], 0).value().unwrap().to_f64()[0].is_sign_negative()
    );

    assert!(error(|t| t.input(F64, [3]).at(3)).contains("no position 3 on an axis of 3"));
    assert!(error(|t| t.input(F64, []).at(0)).contains("a scalar has none"));
    assert!(error(|t| t.input(F64, [3]).part(s![.., 0])).contains("no axis 1"));
    assert!(error(|t| t.input(F64, [3]).part(s![1..5])).contains("leaves an axis of 3"));
    assert!(
        error(|t| t.input(F64, [3]).set_part(s![1..], &array![1.0, 2.0, 3.0])).contains("do not broadcast")
    );
    assert!(error(|t| t.concat([t.input(F64, [3]), t.input(F32, [3])], 0)).contains("f32"));
    assert!(
        error(|t| t.concat([t.input(F64, [3, 1]), t.input(F64, [3, 2])], 0))
            .contains("[3, 1] and [3, 2] differ")
    );
    assert!(error(|t| t.stack([], 0)).contains("no arrays to put together"));
    assert!(error(|t| t.input(F64, [3]).split([1, 1], 0)[0]).contains("[1, 1] are 2, the axis has 3"));
    assert!(error(|t| t.input(F64, [3]).pad([], 0.0)).contains("expected 1 axes, found 0"));
}

#[test]
fn picks_along_any_axis_are_those_of_a_loop() {
    let array = ndarray::Array3::from_shape_fn((4, 3, 5), |(i, j, k)| (100 * i + 10 * j + k) as f64);
    let picks = array![[2i64, 0], [1, 1]];
    let t = Recorder::default();
    let (x, index) = (t.constant(&array), t.constant(&picks));
    let y = x.gather_along(1, index);
    assert_eq!(y.shape(), [4, 2, 2, 5]);
    let due: Vec<f64> = (0..4)
        .flat_map(|i| picks.iter().flat_map(move |&j| (0..5).map(move |k| (100 * i + 10 * j + k) as f64)))
        .collect();
    assert_eq!(value(y), due);
    // What was picked, put back: of places that are named twice the last stays, or all are added.
    let (set, add) = (x.scatter_along(1, index, y * 2), x.scatter_add_along(1, index, y));
    let (mut due_set, mut due_add) = (array.clone(), array.clone());
    for &j in &picks {
        due_set.index_axis_mut(Axis(1), j as usize).assign(&(&array.index_axis(Axis(1), j as usize) * 2.0));
        let mut row = due_add.index_axis_mut(Axis(1), j as usize);
        row += &array.index_axis(Axis(1), j as usize);
    }
    assert_eq!(value(set), due_set.into_raw_vec_and_offset().0);
    assert_eq!(value(add), due_add.into_raw_vec_and_offset().0);
    // Only the row that stayed has a derivative; that which was replaced has none.
    let (base, part) = (t.constant([1.0, 2.0, 3.0]), t.constant([10.0, 20.0, 30.0]));
    let y = base.scatter(t.constant([2, 0, 2]), part);
    assert_eq!(value(y), [20.0, 2.0, 30.0]);
    let g = (y * &array![1.0, 10.0, 100.0]).sum(()).gradients((base, part));
    assert_eq!((value(g[base]), value(g[part])), (vec![0.0, 10.0, 0.0], vec![0.0, 1.0, 100.0]));
    assert!(error(|t| t.input(F64, [3, 2]).gather_along(2, t.input(U32, [1]))).contains("no axis 2"));
}

#[test]
fn rows_are_multiplied_into_places_and_the_largest_kept() {
    let t = Recorder::default();
    let (base, index) = (t.constant([2.0, 3.0, 5.0]), t.constant([2, 0, 2, 2]));
    // Zeros are numbers like others: of one the derivative is the product of the others, of two there is none.
    let part = t.constant([7.0, 11.0, 0.0, 13.0]);
    let y = base.scatter_multiply(index, part);
    assert_eq!(value(y), [22.0, 3.0, 0.0]);
    let g = y.sum(()).gradients((base, part));
    assert_eq!(
        (value(g[base]), value(g[part])),
        (vec![11.0, 1.0, 0.0], vec![0.0, 2.0, 5.0 * 7.0 * 13.0, 0.0])
    );
    // Second order, across the zero: ∂²/∂p₀∂p₂ = 5 · 13, ∂²/∂p₂∂p₃ = 5 · 7.
    assert_eq!(value(g[part].slice(0, 2..3).sum(()).gradients(part)[part]), [65.0, 0.0, 0.0, 35.0]);

    // Three that are equal, the one that was there among them, share alike; NaN is larger than all.
    let part = t.constant([5.0, 1.0, 5.0, -2.0]);
    let y = base.scatter_max(index, part);
    assert_eq!(value(y), [2.0, 3.0, 5.0]);
    let g = y.sum(()).gradients((base, part));
    let third = 1.0 / 3.0;
    assert_eq!((value(g[base]), value(g[part])), (vec![1.0, 1.0, third], vec![third, 0.0, third, 0.0]));
    let y = base.scatter_min(index, part);
    assert_eq!(value(y), [1.0, 3.0, -2.0]);
    let g = y.sum(()).gradients((base, part));
    assert_eq!((value(g[base]), value(g[part])), (vec![0.0, 1.0, 0.0], vec![0.0, 1.0, 0.0, 1.0]));
    let y = value(base.scatter_max(t.constant([1, 1]), t.constant([f64::NAN, 9.0])));
    assert!(y[0] == 2.0 && y[1].is_nan() && y[2] == 5.0);

    // No rows, rows of no numbers, other axes, and what does not fit.
    let none = t.constant(Vec::<i64>::new());
    type Write = for<'t> fn(Var<'t>, Var<'t>, Var<'t>) -> Var<'t>;
    let writes: [Write; 3] = [
        |x, index, part| x.scatter_multiply(index, part),
        |x, index, part| x.scatter_max(index, part),
        |x, index, part| x.scatter_min(index, part),
    ];
    for write in writes {
        assert_eq!(value(write(base, none, t.constant(Vec::<f64>::new()))), [2.0, 3.0, 5.0]);
        let empty = t.full(F64, [3, 0], 1.0);
        assert_eq!(write(empty, index, t.full(F64, [4, 0], 1.0)).shape(), [3, 0]);
        let short = error(|t| write(t.input(F64, [3, 2]), t.input(U32, [4]), t.input(F64, [4])));
        assert!(short.contains("[4, 2]") && short.contains("scatter_m"), "{short}");
        let far = write(base, t.constant([3]), t.constant([1.0])).value().unwrap_err().to_string();
        assert!(far.contains("index 3"), "{far}");
    }
    let (x, index) = (t.constant(array![[2.0, 3.0], [5.0, 7.0]]), t.constant([1, 1]));
    let part = t.constant(array![[2.0, 5.0], [0.5, 9.0]]);
    assert_eq!(value(x.scatter_multiply_along(1, index, part)), [2.0, 30.0, 5.0, 31.5]);
    assert_eq!(value(x.scatter_max_along(1, index, part)), [2.0, 5.0, 5.0, 9.0]);
    assert_eq!(value(x.scatter_min_along(-1, index, part)), [2.0, 2.0, 5.0, 0.5]);
}

#[test]
fn new_functions_are_accurate_where_what_they_replace_is_not() {
    let points: Vec<f64> = (0..400)
        .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 } * 2f64.powf(f64::from(i) / 4.0 - 60.0))
        .chain([0.0, -0.0, 700.0, -700.0, 1e300, f64::INFINITY])
        .collect();
    let t = Recorder::default();
    let x = t.constant(&points);
    let ulps = |found: Vec<f64>, due: &dyn Fn(f64) -> f64, name: &str| {
        for (found, x) in found.into_iter().zip(&points) {
            let due = due(*x);
            let same = found == due || (found.is_nan() && due.is_nan());
            assert!(
                same || (found - due).abs() <= 8.0 * f64::EPSILON * due.abs(),
                "{name}({x:e}) = {found:e}, not {due:e}"
            );
        }
    };
    ulps(value(x.exp_m1()), &f64::exp_m1, "exp_m1");
    ulps(value(x.ln_1p()), &f64::ln_1p, "ln_1p");
    ulps(value(x.softplus()), &|x| x.max(0.0) + (-x.abs()).exp().ln_1p(), "softplus");
    ulps(value(x.log_sigmoid()), &|x| -((-x).max(0.0) + (-x.abs()).exp().ln_1p()), "log_sigmoid");
    ulps(value(x.pow(2.5)), &|x| x.powf(2.5), "pow");
    ulps(value(x.pow(-3)), &|x| x.powf(-3.0), "pow(-3)");
    ulps(value(x.abs().pow(0.1)), &|x| x.abs().powf(0.1), "pow(0.1)");
    ulps(value(x.square()), &|x| x * x, "square");
    let single = t.constant(points.iter().map(|&x| x as f32).collect::<Vec<_>>());
    for (found, x) in value(single.exp_m1()).into_iter().zip(&points) {
        let due = f64::from((*x as f32).exp_m1());
        assert!(found == due || (found - due).abs() <= 1e-6 * due.abs(), "exp_m1({x}) = {found}, not {due}");
    }

    // Derivatives at 0, where composed ones have kinks or are NaN.
    let slope = |f: &dyn for<'t> Fn(Var<'t>) -> Var<'t>, at: f64| {
        let t = Recorder::default();
        let x = t.constant(at);
        let first = f(x).gradients(x)[x];
        let second = first.gradients(x)[x];
        (first.value().unwrap().item().unwrap(), second.value().unwrap().item().unwrap())
    };
    assert_eq!(slope(&|x| x.softplus(), 0.0), (0.5, 0.25));
    assert_eq!(slope(&|x| x.pow(3), 0.0), (0.0, 0.0));
    assert_eq!(slope(&|x| x.pow(2), 0.0), (0.0, 2.0));
    assert_eq!(slope(&|x| x.pow(x.fill(2.0)), 3.0), (6.0, 2.0));
    assert_eq!(slope(&|x| x.pow(2.5), 0.0), (0.0, 0.0));
    assert_eq!(slope(&|x| x.pow(0), f64::NAN), (0.0, 0.0));
    assert_eq!(slope(&|x| x.binary_cross_entropy(1.0), 0.0), (-0.5, 0.25));
    assert_eq!(slope(&|x| x.reshape([1]).norm(0), 0.0).0, 0.0);
    // Negative powers, where a quotient of products would leave the range of numbers.
    let close = |(a, b): (f64, f64), (c, d): (f64, f64)| {
        assert!((a / c - 1.0).abs() < 1e-13 && (b / d - 1.0).abs() < 1e-13, "{a:e} {b:e}, not {c:e} {d:e}");
    };
    close(slope(&|x| x.pow(-3), 1e50), (-3e-200, 12e-250));
    close(slope(&|x| x.pow(-4), 1e-50), (-4e250, 20e300));
    close(slope(&|x| x.pow(-1), 1e50), (-1e-100, 2e-150));
    assert_eq!(slope(&|x| x.pow(-2), 0.0), (f64::NEG_INFINITY, f64::INFINITY));
    assert_eq!(slope(&|x| x.exp_m1(), 0.0), (1.0, 1.0));
    assert_eq!(slope(&|x| x.ln_1p(), 0.0), (1.0, -1.0));
}

#[test]
fn statistics_and_losses_are_those_of_plain_loops() {
    let array = array![[1.0, 2.0, 4.0], [3.0, 3.0, 3.0]];
    let t = Recorder::default();
    let x = t.constant(&array);
    let due: Vec<f64> = array.rows().into_iter().map(|r| r.var(0.0)).collect();
    let close = |found: Vec<f64>, due: Vec<f64>| {
        assert!(found.iter().zip(&due).all(|(a, b)| (a - b).abs() < 1e-14), "{found:?}, not {due:?}");
    };
    close(value(x.var(1)), due.clone());
    close(value(x.std(Keep(-1))), due.iter().map(|v| v.sqrt()).collect());
    assert_eq!(value(x.std(1).sum(()).gradients(x)[x])[3..], [0.0; 3]);
    close(value(x.norm(())), vec![48f64.sqrt()]);
    assert_eq!(value(x.clamp(2, &array![[3.0], [5.0]])), [2.0, 2.0, 3.0, 3.0, 3.0, 3.0]);
    assert_eq!(value(x.mse(0.0)), [8.0]);
    assert!(error(|t| t.input(F64, [2, 3]).mse(t.input(F64, [3]))).contains("[2, 3] and [3] differ"));
    close(value(x.softmax_along(0).sum(0)), vec![1.0; 3]);
    close(value(x.log_softmax_along(-1)), value(x.log_softmax()));
    let labels = t.constant([0, 1, 1]);
    let column = |j: usize| {
        let logits = [array[[0, j]], array[[1, j]]];
        logits.map(f64::exp).iter().sum::<f64>().ln() - logits[[0, 1, 1][j]]
    };
    close(value(x.cross_entropy_along(0, labels)), vec![(0..3).map(column).sum::<f64>() / 3.0]);
    let one_hot = t.constant([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]);
    close(value(x.cross_entropy_along(0, one_hot)), value(x.cross_entropy_along(0, labels)));
}

#[test]
fn arrays_of_every_kind_enter_and_leave() {
    let mut states = States::new();
    let w = states.add("w", [[1.0, 2.0], [3.0, 4.0]]).unwrap();
    states.set(w, &array![[1.0, 2.0], [3.0, 4.0]].t()).unwrap();
    assert_eq!(states.get(w).unwrap().to_f64(), [1.0, 3.0, 2.0, 4.0]);
    let t = Recorder::default();
    assert_eq!(t.constant(&[1.0f32, 2.0][..]).ty().to_string(), "f32[2]");
    assert_eq!(t.constant(array![1i32, 2].view()).dtype(), I64);
    assert_eq!(t.constant(7usize).dtype(), I64);
    let program = Program::record(&states, |t| {
        let (x, i) = (t.input(F64, [2, 2]), t.input(I64, [2]));
        let y = (x + t.state(w)).gather(i);
        t.outputs((y, y.sum(()), i))
    });
    let program = program.unwrap();
    let mut workspace = program.workspace().unwrap();
    let x = array![[1.0, 2.0], [3.0, 4.0]];
    for index in [array![1usize, 1], array![1usize, 1]] {
        let results = program.evaluate(&mut workspace, &states, (&x.t(), &index)).unwrap();
        let y: ndarray::Array2<f64> = results.array(0).unwrap();
        assert_eq!(y, array![[4.0, 8.0], [4.0, 8.0]]);
        assert_eq!(results.item::<f64>(1).unwrap(), 24.0);
        let labels: Array1<i64> = results.array(2).unwrap();
        assert_eq!(labels, array![1, 1]);
        assert!(results.array::<f64, ndarray::Ix1>(0).is_err() && results.item::<f32>(1).is_err());
    }
    let results = program.evaluate(&mut workspace, &states, (&[[1.0, 2.0], [3.0, 4.0]], &vec![0i32, 1]));
    assert_eq!(results.unwrap().scalar(1).unwrap(), 20.0);
    let short = program.evaluate(&mut workspace, &states, (&x, &[0i32])).err().unwrap().to_string();
    assert!(short.contains("input 1 is i64[2]"), "{short}");
}
