//! Data for training: files of every spelling, parts, orders, variations and what is made ahead.

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

use ndarray::{Array1, Array2, Array3, array};
use wengert_idx::{Encoding, Options, write};
use wengert_nn::{
    Augment, Dataset, Epochs, Examples, Prefetch, Recipe, Result, Split, Subset, Trainer, find_part,
};

/// Three images of 2 by 2 pixels, and their labels.
fn pair() -> (Array3<u8>, Array1<u8>) {
    (Array3::from_shape_fn((3, 2, 2), |(n, i, j)| (4 * n + 2 * i + j) as u8), array![1, 0, 2])
}

#[test]
fn files_are_found_by_every_spelling() {
    let (images, labels) = pair();
    let spellings = [
        ("", "train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("", "train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
        ("", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
        ("raw", "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("", "emnist-letters-train-images-idx3-ubyte.gz", "emnist-letters-train-labels-idx1-ubyte.gz"),
    ];
    for (folder, x, y) in spellings {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join(folder);
        fs::create_dir_all(&inner).unwrap();
        let encoding = |name: &str| if name.ends_with(".gz") { Encoding::Gzip } else { Encoding::Raw };
        write(inner.join(x), &images, encoding(x)).unwrap();
        write(inner.join(y), &labels, encoding(y)).unwrap();
        assert_eq!(find_part(dir.path(), "train").unwrap(), (inner.join(x), inner.join(y)), "{x}");
        let split = Split::load(dir.path(), "train", 3, &Options::default()).unwrap();
        assert_eq!(split.labels, array![1u32, 0, 2]);
        assert_eq!(split.images.row(1), array![4u8, 5, 6, 7]);
        let missing = Split::load(dir.path(), "t10k", 3, &Options::default()).unwrap_err().to_string();
        assert!(missing.contains("t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte"), "{missing}");
    }
}

#[test]
fn files_of_several_data_sets_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) = pair();
    for set in ["emnist-digits-", "emnist-letters-"] {
        write(dir.path().join(format!("{set}test-images-idx3-ubyte")), &images, Encoding::Raw).unwrap();
        write(dir.path().join(format!("{set}test-labels-idx1-ubyte")), &labels, Encoding::Raw).unwrap();
    }
    let several = find_part(dir.path(), "t10k").unwrap_err().to_string();
    assert!(several.contains("emnist-digits-") && several.contains("emnist-letters-"), "{several}");
    // Those of the canonical names win, and images of one set do not go with labels of another.
    write(dir.path().join("t10k-images-idx3-ubyte"), &images, Encoding::Raw).unwrap();
    assert!(find_part(dir.path(), "t10k").is_err());
    write(dir.path().join("t10k-labels-idx1-ubyte"), &labels, Encoding::Raw).unwrap();
    let (found, _) = find_part(dir.path(), "t10k").unwrap();
    assert_eq!(found, dir.path().join("t10k-images-idx3-ubyte"));
    let nowhere = find_part(dir.path().join("nowhere"), "train").unwrap_err().to_string();
    assert!(nowhere.contains("nowhere"), "{nowhere}");
}

/// QMNIST's labels are rows of eight integers.
#[test]
fn labels_may_have_columns() {
    let dir = tempfile::tempdir().unwrap();
    let (images, labels) = pair();
    let rows =
        Array2::from_shape_fn((3, 8), |(n, k)| if k == 0 { i32::from(labels[n]) } else { 100 * k as i32 });
    for part in ["train", "test"] {
        write(dir.path().join(format!("qmnist-{part}-images-idx3-ubyte")), &images, Encoding::Raw).unwrap();
        write(dir.path().join(format!("qmnist-{part}-labels-idx2-int")), &rows, Encoding::Raw).unwrap();
    }
    let load = |column| Dataset::load_by(dir.path(), column, 3, 1, &Options::default());
    let data = load(Some(0)).unwrap();
    assert_eq!((&data.train.labels, &data.test.labels), (&array![1u32, 0, 2], &array![1u32, 0, 2]));
    for (column, due) in [
        (None, "labels of one dimension, found [3, 8]"),
        (Some(8), "a column 8, found [3, 8]"),
        // The element of the file: row 0, column 2, behind a header of 12 bytes.
        (Some(2), "at byte 20: label 0: expected 0 to 2, found 200"),
    ] {
        let error = load(column).unwrap_err().to_string();
        assert!(error.contains(due), "{error}");
    }
}

#[test]
fn examples_are_divided_without_loss() {
    let all: Arc<dyn Examples> = Arc::new(Split {
        size: (1, 3),
        images: Array2::from_shape_fn((50, 3), |(n, _)| n as u8),
        labels: (0..50).map(|n| n % 10).collect(),
    });
    let numbers = |part: &Subset| -> Vec<u8> {
        let read = |n| {
            let mut pixels = [0; 3];
            assert_eq!(part.example(n, &mut pixels).unwrap(), u32::from(pixels[0]) % 10);
            pixels[0]
        };
        (0..part.len()).map(read).collect()
    };
    let divided = |share, seed| Subset::divided(all.clone(), share, seed);
    let (a, b) = divided(0.3, 7).unwrap();
    assert_eq!((a.len(), b.len(), a.size()), (35, 15, (1, 3)));
    let mut both = [numbers(&a), numbers(&b)].concat();
    both.sort_unstable();
    assert_eq!(both, (0..50).collect::<Vec<u8>>());
    let (c, d) = divided(0.3, 7).unwrap();
    assert_eq!((numbers(&a), numbers(&b)), (numbers(&c), numbers(&d)));
    assert_ne!(numbers(&divided(0.3, 8).unwrap().1), numbers(&b), "another seed");
    for share in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(divided(share, 7).is_err(), "{share}");
    }
    assert_eq!(numbers(&Subset::first(all.clone(), 3)), [0, 1, 2]);
    assert!(b.example(15, &mut [0; 3]).is_err() && all.example(0, &mut [0; 4]).is_err());
}

/// Examples that are made when they are asked for train as well, and bring the mean and deviation of their pixels.
#[test]
fn examples_of_others_are_trained_on() {
    struct Bars;
    impl Examples for Bars {
        fn len(&self) -> usize {
            120
        }
        fn size(&self) -> (usize, usize) {
            (3, 3)
        }
        fn example(&self, number: usize, pixels: &mut [u8]) -> Result<u32> {
            let row = number % 3;
            pixels.fill(10);
            pixels[3 * row..][..3].fill(100 + (number / 3) as u8);
            Ok(row as u32)
        }
    }
    let recipe = Recipe {
        model: "mlp:9-3".into(),
        height: 3,
        width: 3,
        classes: 3,
        epochs: Some(20),
        iters: None,
        batch: 7,
        normalize: true,
        ..Recipe::default()
    };
    let mut trainer = Trainer::of(&recipe, Arc::new(Bars), Arc::new(Bars), 1).unwrap();
    trainer.run(|_, _| Ok::<_, wengert_nn::Error>(ControlFlow::Continue(()))).unwrap();
    let model = trainer.result().unwrap();
    assert_eq!(model.evaluate(&Bars, 2).unwrap().accuracy, 1.0);
    let pixels: Vec<f64> = (0..120)
        .flat_map(|n| {
            let mut pixels = [0; 9];
            Bars.example(n, &mut pixels).unwrap();
            pixels.map(|p| f64::from(p) / 255.0)
        })
        .collect();
    let pixels = ndarray::Array1::from(pixels);
    let number = |name: &str| model.parameter(name).unwrap().item().unwrap();
    assert!((number("normalize.mean") - pixels.mean().unwrap()).abs() < 1e-6);
    assert!((number("normalize.deviation") - pixels.std(0.0)).abs() < 1e-6);
    let wrong = Recipe { classes: 2, model: "mlp:9-2".into(), ..recipe };
    let error = Trainer::of(&wrong, Arc::new(Bars), Arc::new(Bars), 1).err().unwrap().to_string();
    assert!(error.contains("the label 2 of 2 classes"), "{error}");
}

#[test]
fn an_epoch_is_every_example_once() {
    for whole in [false, true] {
        let epochs = Epochs { examples: 103, batch: 10, seed: 3, whole };
        let order = epochs.order(5);
        let mut seen: Vec<u32> =
            (0..epochs.batches()).flat_map(|n| epochs.batch(&order, n).to_vec()).collect();
        assert_eq!(seen.len(), if whole { 100 } else { 103 });
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), if whole { 100 } else { 103 });
        assert!(epochs.batch(&order, epochs.batches()).is_empty());
        assert!(epochs.batch(&order[..5], 3).is_empty(), "an order of other examples");
        assert_ne!(order, epochs.order(6));
        assert_ne!(order, Epochs { seed: 4, ..epochs }.order(5));
    }
}

#[test]
fn variations_move_turn_and_mirror() {
    let (height, width) = (9, 9);
    let mut image = vec![0u8; 81];
    // A point off the centre.
    image[4 * 9 + 6] = 200;
    let none = Augment::none(height, width);
    let vary = |augment: Augment, key| {
        let mut to = vec![1u8; 81];
        augment.apply(key, &image, &mut to).unwrap();
        to
    };
    assert_eq!(vary(none, (1, 2, 3)), image);
    // Moved by whole pixels: one point, elsewhere.
    let moved = Augment { shift: 2.0, ..none };
    let mut places: Vec<usize> = (0..200)
        .map(|sample| {
            let found = vary(moved, (7, 0, sample));
            assert_eq!(found.iter().filter(|&&p| p > 0).count(), 1);
            found.iter().position(|&p| p == 200).unwrap()
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), 25, "each of two pixels to every side");
    let flipped = Augment { flip: true, ..none };
    let mirrored = (0..100).filter(|&sample| vary(flipped, (7, 0, sample))[4 * 9 + 2] == 200).count();
    let same = (0..100).filter(|&sample| vary(flipped, (7, 0, sample)) == image).count();
    assert!(mirrored + same == 100 && (30..70).contains(&mirrored), "{mirrored}");
    // Turned: the point stays as far from the centre, by the middle of what it became.
    let turned = Augment { rotation: 30.0, ..none };
    let mut angles: Vec<f64> = (0..100)
        .map(|sample| {
            let found = vary(turned, (7, 0, sample));
            let sum: f64 = found.iter().map(|&p| f64::from(p)).sum();
            let mean = |of: fn(usize) -> usize| {
                found.iter().enumerate().map(|(i, &p)| f64::from(p) * of(i) as f64).sum::<f64>() / sum - 4.0
            };
            let (y, x) = (mean(|i| i / 9), mean(|i| i % 9));
            assert!((y.hypot(x) - 2.0).abs() < 0.15, "{y} {x}");
            y.atan2(x).to_degrees()
        })
        .collect();
    angles.sort_by(f64::total_cmp);
    assert!(angles[0] < -20.0 && angles[99] > 20.0 && angles[0] > -36.0 && angles[99] < 36.0, "{angles:?}");
    // The same key, the same image; another epoch or seed, another one.
    let all = Augment { shift: 2.0, rotation: 30.0, scale: 0.2, flip: true, ..none };
    assert_eq!(vary(all, (1, 2, 3)), vary(all, (1, 2, 3)));
    assert!([(0, 2, 3), (1, 3, 3), (1, 2, 4)].iter().all(|&key| vary(all, key) != vary(all, (1, 2, 3))));
    assert!(Augment::none(usize::MAX, 2).apply((1, 2, 3), &image, &mut [0; 81]).is_err());
    assert!(all.apply((1, 2, 3), &image[1..], &mut [0; 81]).is_err());
}

#[test]
fn what_is_made_ahead_comes_in_order() {
    let due: Vec<u64> = (5..100).map(|n| n * 3).collect();
    for threads in [0, 1, 2, 3] {
        let made = Prefetch::new(threads, 2, 5..100, |n| {
            // Some take longer than others.
            let rest = (0..n % 7 * 1000).fold(0, |sum, x| sum + x % 2);
            if rest > u64::MAX / 2 { 0 } else { n * 3 }
        });
        assert_eq!(made.collect::<Vec<u64>>(), due, "{threads} threads");
        // Nobody waits for what is not taken.
        let mut some = Prefetch::new(threads, 2, 0..u64::MAX, |n| n);
        assert_eq!((some.next(), some.next()), (Some(0), Some(1)));
    }
    assert_eq!(Prefetch::new(2, 2, 3..3, |n| n).next(), None);
}
