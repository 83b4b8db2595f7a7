//! Convolutions, pooling and resizing: corners, and what does not fit.

use crate::{error, value};
use ndarray::{Array4, array};
use wengert::DType::{F32, F64, U32};
use wengert::check::{Options, function, gradcheck, laws};
use wengert::{Conv, Pool, Program, Recorder, States, Tensor, Var};

fn ramp(dims: &[usize]) -> Tensor {
    let count = dims.iter().product::<usize>();
    let number = |i: usize| ((i * 37 + 11) % 23) as f64 / 7.0 - 1.5;
    Tensor::new(dims, (0..count).map(number).collect::<Vec<f64>>()).expect("a tensor")
}

#[test]
fn gradients_of_every_order_and_batches_of_batches() {
    // As a network has them: over examples whose last block is not full, in strips, with every option.
    let conv = || Conv::new().stride((2, 1)).padding_sides([(1, 0), (0, 2)]).dilation((1, 2)).groups(2);
    let f = wengert::check::scalar(|_, x| {
        let conv = Conv::new().stride((2, 1)).padding_sides([(1, 0), (0, 2)]).dilation((1, 2)).groups(2);
        x[0].conv2d(x[1], conv).tanh().max_pool2d(Pool::new((1, 2))).sum(())
    });
    let inputs = [ramp(&[3, 4, 5, 6]), ramp(&[4, 2, 2, 2])];
    gradcheck(f, &inputs, &Options { order: 3, ..Options::default() }).unwrap();
    let g = function(move |_, x| vec![x[0].conv2d(x[1], conv())]);
    laws::jacobian(&g, &[ramp(&[1, 2, 3, 2]), ramp(&[2, 1, 2, 2])]).unwrap();
    // A convolution per example and kernel, and of these a batch.
    let t = Recorder::default();
    let (x, w) = (t.constant(ramp(&[2, 3, 1, 2, 4, 4])), t.constant(ramp(&[2, 3, 3, 2, 2, 2])));
    let nested = t.vmap(&[(x, Some(0)), (w, Some(0))], |p| {
        t.vmap(&[(p[0], Some(0)), (p[1], Some(0))], |p| vec![p[0].conv2d(p[1], Conv::new())])
    });
    for i in 0..2 {
        for j in 0..3 {
            let one = x.at(i).at(j).conv2d(w.at(i).at(j), Conv::new());
            assert_eq!(value(nested[0].at(i).at(j)), value(one));
        }
    }
}

#[test]
fn transposes_undo_shapes_and_are_transposes() {
    let t = Recorder::default();
    for (stride, padding, dilation) in [(1, 0, 1), (2, 1, 1), (3, 1, 2), (2, 0, 3)] {
        let conv = || Conv::new().stride(stride).padding(padding).dilation(dilation);
        let (x, w) = (t.constant(ramp(&[2, 3, 9, 8])), t.constant(ramp(&[4, 3, 3, 2])));
        let y = x.conv2d(w, conv());
        // ⟨u, conv x⟩ = ⟨convᵀ u, x⟩, where the transpose is as long as the input, whose last rows a stride may leave open.
        let u = t.constant(ramp(&y.shape()));
        let least = u.conv_transpose2d(w, conv());
        let back = u.conv_transpose2d(w, conv().output_padding((9 - least.dim(2), 8 - least.dim(3))));
        assert_eq!(back.shape(), x.shape());
        let of_x: f64 = value(back).iter().zip(value(x)).map(|(a, b)| a * b).sum();
        let of_y: f64 = value(y).iter().zip(value(u)).map(|(a, b)| a * b).sum();
        assert!((of_x - of_y).abs() < 1e-12 * (1.0 + of_y.abs()), "{of_x} {of_y}");
    }
}

#[test]
fn borders_are_left_out_and_ties_go_to_the_first() {
    let t = Recorder::default();
    // An infinite weight that meets no element makes nothing, of one image in strips, too.
    for n in [1, 2, 17] {
        let x = t.full(F64, [n, 1, 18, 3], 1.0);
        let w = t.constant(array![[[[f64::INFINITY], [1.0]]]]);
        let y = x.conv2d(w, Conv::new().padding_sides([(1, 0), (0, 0)]));
        let first = y.slice(2, 0..1);
        assert!(value(first).iter().all(|&y| y == 1.0), "{n}");
        assert!(value(y.slice(2, 1..)).iter().all(|&y| y == f64::INFINITY));
        let ct = t.constant(Array4::from_elem((n, 1, 18, 3), f64::INFINITY));
        let g = t.vjp(&[(x.conv2d(t.full(F64, [1, 1, 3, 1], 1.0), Conv::new().padding((1, 0))), ct)], &[x]);
        assert!(value(g[0]).iter().all(|&g| g == f64::INFINITY));
    }
    let x = t.constant(array![[1.0, 3.0, 3.0], [3.0, 3.0, 0.0]]);
    let y = x.max_pool2d(Pool::new(2).stride(1));
    assert_eq!(value(y), [3.0, 3.0]);
    let g = y.sum(()).gradients(x);
    assert_eq!(value(g[x]), [0.0, 2.0, 0.0, 0.0, 0.0, 0.0]);
    // NaN is the largest, zeros are equal whatever their signs; what is beyond the ends is no number.
    let x = t.constant([f64::NAN, 1.0, -0.0, 0.0, -5.0]);
    let y = value(x.max_pool1d(Pool::new(2).padding_sides([(0, 1)])));
    assert!(y[0].is_nan() && y[1] == 0.0 && y[1].is_sign_negative() && y[2] == -5.0);
    for (dtype, long) in [(F32, 3), (F64, 3), (F32, 40), (F64, 40)] {
        let x = t.full(dtype, [2, long], f64::NEG_INFINITY);
        assert_eq!(value(x.max_pool1d(Pool::new(3)))[0], f64::NEG_INFINITY);
    }
}

#[test]
fn the_first_largest_is_found_among_equals_infinities_and_nan() {
    let t = Recorder::default();
    let numbers = [0.0, -0.0, 1.0, 1.0, f64::NAN, f64::NEG_INFINITY, f64::INFINITY, -2.0];
    for (height, width) in [(9, 31), (9, 14), (11, 9)] {
        let drawn =
            |i: usize| if i < 40 { f64::NEG_INFINITY } else { numbers[(i * i + i / 7) % numbers.len()] };
        let plane: Vec<f64> = (0..2 * height * width).map(drawn).collect();
        let x = t.constant(Tensor::new([2, height, width], plane.clone()).unwrap());
        let windows = [(2, 1, 0, 1), (2, 2, 0, 1), (3, 2, 0, 1), (2, 3, 0, 1), (4, 7, 0, 1), (9, 1, 0, 1)];
        let padded = [(3, 1, 1, 1), (3, 2, 1, 1), (2, 2, 1, 1), (3, 2, 1, 2), (3, 1, 0, 3), (2, 3, 1, 2)];
        for (size, stride, padding, dilation) in windows.into_iter().chain(padded) {
            let [rows, columns] =
                [height, width].map(|n| (n + 2 * padding - dilation * (size - 1) - 1) / stride + 1);
            let mut due = vec![0.0; plane.len()];
            for window in 0..2 * rows * columns {
                let (image, row, column) =
                    (window / rows / columns, window / columns % rows, window % columns);
                let inside = (0..size * size).filter_map(|i| {
                    let y = (row * stride + i / size * dilation).checked_sub(padding)?;
                    let x = (column * stride + i % size * dilation).checked_sub(padding)?;
                    (y < height && x < width).then_some((image * height + y) * width + x)
                });
                let first = inside.reduce(|a, b| {
                    let later = plane[b] > plane[a] || (plane[b].is_nan() && !plane[a].is_nan());
                    if later { b } else { a }
                });
                due[first.unwrap()] += 1.0;
            }
            for x in [x, x.cast(F32)] {
                let pool = Pool::new(size).stride(stride).padding(padding).dilation(dilation);
                let y = x.max_pool2d(pool);
                let g = t.vjp(&[(y, t.full(x.dtype(), y.shape(), 1.0))], &[x]);
                assert_eq!(value(g[0]), due, "{size} {stride} {padding} {dilation}");
            }
        }
    }
}

#[test]
fn a_kernel_of_one_pixel_is_one_of_three_with_a_border_of_zeros() {
    let t = Recorder::default();
    let (x, w) = (t.constant(ramp(&[3, 5, 4, 6])), t.constant(ramp(&[7, 5, 1, 1])));
    let (one, three) = (
        x.conv2d(w, Conv::new()),
        x.conv2d(w.pad([(0, 0), (0, 0), (1, 1), (1, 1)], 0.0), Conv::new().padding(1)),
    );
    let near = |a: Var<'_>, b: Var<'_>| value(a).iter().zip(value(b)).all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(one.shape() == three.shape() && near(one, three));
    let (a, b) =
        ((one * one * one).sum(()).gradients((x, w)), (three * three * three).sum(()).gradients((x, w)));
    assert!(near(a[x], b[x]) && near(a[w], b[w]) && a[w].shape() == [7, 5, 1, 1]);
    let one = x.slice(3, 0..1).squeeze(3).conv1d(w.squeeze(3), Conv::new());
    assert!(near(one.insert_axis(3), x.conv2d(w, Conv::new()).slice(3, 0..1)));
}

#[test]
fn windows_of_every_sort_are_those_of_loops() {
    let t = Recorder::default();
    let long = 23;
    let numbers = ramp(&[3, long]).to_f64();
    let x = t.constant(ramp(&[3, long]));
    for (size, stride, padding, dilation) in
        [(2, 2, 0, 1), (3, 1, 1, 1), (5, 3, 2, 1), (3, 2, 1, 4), (1, 7, 0, 1), (23, 1, 0, 1)]
    {
        let pool = || Pool::new(size).stride(stride).padding(padding).dilation(dilation);
        let places = (long + 2 * padding - dilation * (size - 1) - 1) / stride + 1;
        let (mut largest, mut means, mut real) = (Vec::new(), Vec::new(), Vec::new());
        for row in numbers.chunks(long) {
            for place in 0..places {
                let at = (0..size).map(|i| (place * stride + i * dilation) as isize - padding as isize);
                let inside: Vec<f64> =
                    at.filter_map(|i| row.get(usize::try_from(i).ok()?).copied()).collect();
                largest.push(inside.iter().copied().fold(f64::NEG_INFINITY, f64::max));
                means.push(inside.iter().sum::<f64>() / size as f64);
                real.push(inside.iter().sum::<f64>() / inside.len() as f64);
            }
        }
        let near = |a: Vec<f64>, b: &[f64]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12)
        };
        assert_eq!(value(x.max_pool1d(pool())), largest);
        assert!(near(value(x.avg_pool1d(pool())), &means));
        assert!(near(value(x.avg_pool1d(pool().count_padding(false))), &real));
    }
    for places in [1, 4, 7, 23, 40] {
        let window = |i: usize| i * long / places..((i + 1) * long).div_ceil(places);
        let of = |f: fn(&[f64]) -> f64| -> Vec<f64> {
            numbers.chunks(long).flat_map(|row| (0..places).map(move |i| f(&row[window(i)]))).collect()
        };
        assert_eq!(
            value(x.adaptive_max_pool(places)),
            of(|w| w.iter().copied().fold(f64::NEG_INFINITY, f64::max))
        );
        let means = of(|w| w.iter().sum::<f64>() / w.len() as f64);
        assert!(value(x.adaptive_avg_pool(places)).iter().zip(means).all(|(a, b)| (a - b).abs() < 1e-12));
        let nearest: Vec<f64> =
            numbers.chunks(long).flat_map(|row| (0..places).map(move |i| row[i * long / places])).collect();
        assert_eq!(value(x.resize_nearest(places)), nearest);
    }
    let image = t.constant(ramp(&[2, 7, 6]));
    let g = image.adaptive_avg_pool((3, 4)).sum(()).gradients(image);
    assert!((value(g[image]).iter().sum::<f64>() - 24.0).abs() < 1e-12);
}

#[test]
fn what_does_not_fit_is_said() {
    fn x<'t>(t: &'t Recorder) -> Var<'t> {
        t.input(F64, [2, 4, 5, 5])
    }
    fn conv<'t>(t: &'t Recorder, w: [usize; 4], conv: Conv) -> Var<'t> {
        t.input(F64, [2, 4, 5, 5]).conv2d(t.input(F64, w), conv)
    }
    let says = |w: [usize; 4], options: fn() -> Conv, what: &str| {
        let e = error(|t| conv(t, w, options()));
        assert!(e.contains(what) && e.contains("conv2d at"), "{e}");
    };
    says([3, 2, 3, 3], Conv::new, "has 4 channels");
    says([3, 4, 7, 3], Conv::new, "a window of 7 does not fit into 5");
    says([3, 4, 3, 3], || Conv::new().dilation(3), "a window of 7 does not fit into 5");
    says([3, 2, 3, 3], || Conv::new().groups(2), "for 3 of the output");
    says([3, 4, 3, 3], || Conv::new().groups(0), "at least 1");
    says([3, 4, 3, 3], || Conv::new().stride(0), "stride 0");
    says([3, 4, 0, 3], Conv::new, "a window of 0");
    says([3, 4, 3, 3], || Conv::new().stride((1, 2, 3)), "[1, 2, 3] for 2 axes");
    says([3, 4, 3, 3], || Conv::new().output_padding(1), "only transposed");
    says([3, 4, 3, 3], || Conv::new().padding(usize::MAX), "more elements than memory");
    says([3, 4, 3, 3], || Conv::new().dilation(1 << 50), "does not fit");
    says([3, 4, 1, 1], || Conv::new().padding(1 << 40), "");
    let mixed = error(|t| x(t).conv2d(t.input(F32, [3, 4, 3, 3]), Conv::new()));
    assert!(mixed.contains("f32") && mixed.contains("f64"), "{mixed}");
    assert!(
        error(|t| x(t).conv1d(t.input(F64, [3, 4, 3]), Conv::new())).contains("expected 3 axes, found 4")
    );
    assert!(
        error(|t| x(t).conv_transpose2d(t.input(F64, [4, 1, 3, 3]), Conv::new().same()))
            .contains("say how much")
    );
    assert!(
        error(|t| x(t).conv_transpose2d(t.input(F64, [4, 1, 3, 3]), Conv::new().output_padding(1)))
            .contains("output padding")
    );
    assert!(error(|t| x(t).max_pool2d(Pool::new(3).padding(2))).contains("more than half a window"));
    assert!(error(|t| x(t).max_pool2d(Pool::new(6))).contains("does not fit"));
    assert!(error(|t| t.input(F64, []).max_pool1d(Pool::new(1))).contains("expected 1 axes, found 0"));
    assert!(error(|t| t.input(U32, [4]).max_pool1d(Pool::new(2))).contains("u32"));
    assert!(error(|t| x(t).adaptive_avg_pool(0)).contains("pool at"));
    assert!(error(|t| x(t).adaptive_avg_pool((1, 1, 1))).contains("axes"));
    assert!(error(|t| t.input(F64, [2, 0]).resize_nearest(3)).contains("resize_nearest at"));
    assert!(error(|t| t.input(F64, [5]).adaptive_avg_pool(1 << 40)).contains("adaptive_avg_pool at"));
    assert!(error(|t| t.input(F64, [5]).adaptive_max_pool(1 << 40)).contains("adaptive_max_pool at"));
    assert!(
        error(|t| x(t).max_pool2d(Pool::new(3).padding_sides([(usize::MAX / 2 + 9, 0)])))
            .contains("max_pool2d at")
    );
    assert!(
        error(|t| conv(t, [3, 4, 3, 3], Conv::new().padding_sides([(usize::MAX / 2 + 9, 0)])))
            .contains("conv2d at")
    );
    // A window of which no element is inside.
    assert!(
        error(|t| t.input(F64, [1]).max_pool1d(Pool::new(2).dilation(4).padding(2))).contains("has none")
    );
}

#[test]
fn empty_ones_are_empty_and_sums_over_nothing_zero() {
    let t = Recorder::default();
    let run = |x: [usize; 4], w: [usize; 4]| {
        let (x, w) = (t.full(F64, x, 1.0), t.full(F64, w, 1.0));
        let y = x.conv2d(w, Conv::new());
        let g = y.sum(()).gradients((x, w));
        (y.shape().to_vec(), value(y), value(g[x]), value(g[w]))
    };
    assert_eq!(run([0, 2, 4, 4], [3, 2, 2, 2]), (vec![0, 3, 3, 3], vec![], vec![], vec![0.0; 24]));
    assert_eq!(run([1, 0, 2, 2], [1, 0, 2, 2]), (vec![1, 1, 1, 1], vec![0.0], vec![], vec![]));
    assert_eq!(run([1, 2, 2, 2], [0, 2, 2, 2]), (vec![1, 0, 1, 1], vec![], vec![0.0; 8], vec![]));
    assert_eq!(t.full(F64, [0, 4, 4], 1.0).max_pool2d(Pool::new(2)).shape(), [0, 2, 2]);
    assert_eq!(t.full(F64, [0, 4, 4], 1.0).avg_pool2d(Pool::new(3).stride(1)).shape(), [0, 2, 2]);
}

#[test]
fn tasks_and_threads_give_the_same_bits() {
    let step = |examples: usize, threads: usize, exact: bool| {
        let record = if exact { Program::record_exact } else { Program::record };
        let program = record(&States::new(), |t: &Recorder| {
            let (x, w) = (t.input(F32, [examples, 3, 12, 11]), t.input(F32, [8, 3, 3, 3]));
            let y = x.conv2d(w, Conv::new().same().stride(2)).relu().max_pool2d(Pool::new(2));
            let loss = (y * y).sum(());
            let g = loss.gradients((x, w));
            t.outputs([y, g[x], g[w]])
        });
        let program = program.unwrap();
        assert_eq!(program.plan().to_string().contains("partial convolve"), examples > 96 && !exact);
        let mut workspace = program.workspace_on(threads).unwrap();
        let f32s = |dims: &[usize]| {
            let numbers = ramp(dims).to_f64().into_iter().map(|x| x as f32 * 1.1).collect::<Vec<f32>>();
            Tensor::new(dims, numbers).unwrap()
        };
        let (x, w) = (f32s(&[examples, 3, 12, 11]), f32s(&[8, 3, 3, 3]));
        let found = program.evaluate(&mut workspace, &States::new(), (&x, &w)).unwrap();
        [0, 1, 2].map(|i| found.tensor(i).unwrap())
    };
    // Sums by the weights of more than 96 are split.
    for examples in [37, 113] {
        let (one, three, exact) =
            (step(examples, 1, false), step(examples, 3, false), step(examples, 1, true));
        for ((a, b), exact) in one.iter().zip(&three).zip(&exact) {
            let (a, exact) = (a.to_f64(), exact.to_f64());
            assert_eq!(a, b.to_f64());
            let scale = exact.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            assert!(a.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-5 * scale));
        }
    }
}
