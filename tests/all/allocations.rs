//! After the first run nothing is allocated, and long tapes take little: counted by the allocator of this test program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ndarray::{Array1, Array2};
use wengert::{DType, Function, Program, States, Tensor};

/// The system's allocator, which counts for each thread.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// Bytes that are allocated, and the most that ever were.
    static BYTES: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// Counts an allocation that needs so many bytes more than before, if it was granted.
fn count(at: *mut u8, more: isize) -> *mut u8 {
    if at.is_null() {
        return at;
    }
    // A thread that is ending has no counter any more, and nobody asks for it.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
    add(more);
    at
}

fn add(more: isize) {
    let _ = BYTES.try_with(|bytes| {
        let (now, most) = bytes.get();
        bytes.set((now + more, most.max(now + more)));
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on from the caller.
        count(unsafe { System.alloc(layout) }, layout.size() as isize)
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on from the caller.
        count(unsafe { System.alloc_zeroed(layout) }, layout.size() as isize)
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: passed on from the caller.
        count(unsafe { System.realloc(at, layout, size) }, size as isize - layout.size() as isize)
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        add(-(layout.size() as isize));
        // SAFETY: passed on from the caller.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often something allocates on this thread.
fn allocations(run: impl FnOnce()) -> usize {
    let before = COUNT.get();
    run();
    COUNT.get() - before
}

/// The most bytes that are allocated at a time on this thread.
fn peak(run: impl FnOnce()) -> usize {
    let (before, _) = BYTES.get();
    BYTES.set((before, before));
    run();
    (BYTES.get().1 - before) as usize
}

#[test]
fn the_counter_counts() {
    assert_eq!(peak(|| drop(std::hint::black_box((vec![1u8; 10], vec![1u8; 20])))), 30);
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1u8; 10]))), 1);
    assert_eq!(allocations(|| {}), 0);
}

/// A training step with everything in it: gathers, products small and large, reductions, states, a guard.
#[test]
fn a_replay_allocates_nothing() {
    let mut states = States::new();
    let number = |i: usize| (i % 17) as f32 / 17.0 - 0.4;
    let w = states.add("w", Array2::from_shape_fn((300, 70), |(i, j)| number(3 * i + j))).unwrap();
    let b = states.add("b", Array1::from_shape_fn(70, number)).unwrap();
    let v = states.add("v", Array2::from_shape_fn((70, 5), |(i, j)| number(i + 5 * j))).unwrap();
    let record = |t: &wengert::Recorder| {
        let images = t.input(DType::U8, [500, 300]);
        let labels = t.input(DType::U32, [500]);
        let index = t.input(DType::U32, [64]);
        let scale = t.input_with(2.0f32);
        scale.gt(0.0).decide()?;
        let x = images.gather(index).cast(DType::F32) * scale / 255.0;
        let [w, b, v] = [w, b, v].map(|s| t.state(s));
        let hidden = (x.matmul(w) + b).tanh();
        let loss = hidden.matmul(v).cross_entropy(labels.gather(index)) + (w * w).sum(()) * 1e-4;
        let g = loss.gradients([w, b, v]);
        for p in [w, b, v] {
            t.update(p, p - g[p] * 0.1);
        }
        t.outputs([loss, hidden.t().max(0).sum(())])
    };
    let images = Array2::from_shape_fn((500, 300), |(i, j)| ((i * 7 + j * 3) % 256) as u8);
    let labels = Array1::from_shape_fn(500, |i| (i % 5) as u32);
    let index = Array1::from_shape_fn(64, |i| (i * 31 % 500) as u32);
    let scale = Tensor::scalar(2.0f32);
    let (planned, rows) =
        (Program::record(&states, record).unwrap(), Program::record_once(&states, record).unwrap());
    let mut last = Vec::new();
    for (program, threads) in [(&planned, 1), (&planned, 2), (&rows, 1)] {
        let mut states = states.clone();
        let mut workspace = program.workspace_on(threads).unwrap();
        let mut step = || {
            let results =
                program.run(&mut workspace, &mut states, (&images, &labels, &index, &scale)).unwrap();
            results.scalar(0).unwrap()
        };
        let first = step();
        let mut loss = first;
        let count = allocations(|| (0..5).for_each(|_| loss = step()));
        assert_eq!(count, 0, "{threads} threads");
        assert!(loss < first, "{loss} after {first}");
        last.push((loss, states));
    }
    for (loss, states) in &last[1..] {
        assert_eq!(loss.to_bits(), last[0].0.to_bits());
        for ((_, _, a), (_, _, b)) in states.iter().zip(last[0].1.iter()) {
            assert_eq!(a.data().as_bytes(), b.data().as_bytes());
        }
    }
}

/// Loops over many arrays, and many arrays put together.
#[test]
fn runs_over_many_arrays_allocate_nothing() {
    const COUNT: usize = 90;
    let states = States::new();
    let record = |t: &wengert::Recorder| {
        let x: Vec<_> = (0..COUNT).map(|_| t.input(DType::F64, [700, 2])).collect();
        let product = x.iter().fold(x[0], |y, &x| y * x + 0.5);
        let columns = t.concat(x.iter().map(|x| x.exp()).collect::<Vec<_>>(), 1);
        let rows = t.concat(x.iter().map(|x| x.tanh()).collect::<Vec<_>>(), 0);
        t.outputs([product, columns, rows])
    };
    let program = Program::record(&states, record).unwrap();
    let plan = program.plan().to_string();
    assert!(plan.contains(" join(") && plan.contains(" join rows("), "{plan}");
    let x: Vec<Tensor> =
        (0..COUNT).map(|i| Tensor::new([700, 2], vec![1.0 / (1 + i) as f64; 1400]).unwrap()).collect();
    for threads in [1, 2] {
        let mut workspace = program.workspace_on(threads).unwrap();
        let mut run = || {
            program.evaluate(&mut workspace, &states, x.as_slice()).unwrap();
        };
        run();
        assert_eq!(allocations(|| (0..3).for_each(|_| run())), 0, "{threads} threads");
    }
}

/// Bytes for each row of a long chain with its gradient, and for each slice of an array whose gradient is taken: in
/// recording, planning and the workspace together.
#[test]
fn long_tapes_take_little_memory() {
    type Record = fn(&wengert::Recorder) -> wengert::Result<wengert::Outputs>;
    const COUNT: usize = 20_000;
    let chain: Record = |t| {
        let x = t.input(DType::F64, []);
        let y = (0..COUNT).fold(x, |y, _| y.exp());
        t.outputs(y.gradients([x])[x])
    };
    let slices: Record = |t| {
        let x = t.input(DType::F64, [COUNT]);
        let y = (0..COUNT)
            .fold(t.full(DType::F64, [], 0.0), |y, i| y + x.slice(0, i..i + 1).sum(0) * (i as f64 + 0.5));
        t.outputs(y.gradients([x])[x])
    };
    for (name, record, once, most) in [("a chain", chain, 400, 1250), ("slices", slices, 2350, 2800)] {
        let states = States::new();
        let used = |plan: fn(&States, Record) -> wengert::Result<Program>| {
            peak(|| drop(plan(&states, record).unwrap().workspace().unwrap())) / COUNT
        };
        let (rows, planned) = (used(Program::record_once), used(Program::record));
        assert!(rows <= once && planned <= most, "{name}: {rows} bytes row by row, {planned} planned");
    }
}

/// A function's workspaces wait for the next call; inputs that are converted have room from the first call on.
#[test]
fn later_calls_of_a_function_and_of_a_program_allocate_nothing() {
    let f = Function::new([40, 3], |x| (x.tanh() * x).sum(())).unwrap();
    let mut worker = f.worker();
    let x = Array2::from_shape_fn((40, 3), |(i, j)| (i + j) as f64 / 40.0);
    let (mut g, mut h) = (vec![0.0; 120], vec![0.0; 120 * 120]);
    let mut all = || {
        f.value(&x).unwrap();
        f.value_and_gradient(&x, &mut g).unwrap();
        f.hvp(&x, &x, &mut h[..120]).unwrap();
        f.hessian(&x, &mut h).unwrap();
        worker.value_and_gradient(&x, &mut g).unwrap();
        worker.jacobian(&x, &mut g).unwrap();
    };
    all();
    assert_eq!(allocations(all), 0);

    let program = Program::record(&States::new(), |t| {
        let (x, labels) =
            (t.input(DType::F32, [40, 3]).named("x"), t.input(DType::I64, [40]).named("labels"));
        t.outputs(x.cross_entropy(labels).named("loss"))
    });
    let program = program.unwrap();
    let (x, labels) = (Array2::<f32>::ones((3, 40)), Array1::from_shape_fn(40, |i| i % 3));
    let call = || {
        let called = program.call((("labels", &labels), ("x", &x.t()))).unwrap();
        assert!((called.scalar("loss").unwrap() - 3f64.ln()).abs() < 1e-6);
    };
    assert_eq!(program.memory_report().inputs, 40 * 3 * 4 + 40 * 8);
    call();
    assert_eq!(allocations(call), 0);
}
