//! Commands, their output and their errors.

use std::fs;
use std::process::{Command, Output};

use super::{REPOSITORY, fails, mnist, out, run, text, wengert};

#[test]
fn train_eval_predict() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, output) = run(dir.path(), &["--iters", "700", "--json", "--seed", "3"]);
    assert!(output.stderr.is_empty(), "silent without a terminal");
    let report: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    let keys =
        ["test_accuracy", "train_accuracy", "iters", "seconds_total", "us_per_step", "load_seconds", "out"];
    assert!(keys.iter().all(|k| report.get(k).is_some()), "{report}");
    assert_eq!(out(&output).lines().count(), 1);
    let accuracy = report["test_accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.88, "{accuracy}");

    let mut names: Vec<String> =
        fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["config.toml", "curves.svg", "final.safetensors", "metrics.csv", "report.html"]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half written beside it");
    let metrics = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    let rows: Vec<&str> = metrics.lines().collect();
    assert!(rows[0].starts_with("iteration,loss,train_accuracy,test_accuracy,seconds,"), "{}", rows[0]);
    // After the first step, the first of the second epoch, and the last.
    let iterations: Vec<&str> = rows[1..].iter().map(|r| r.split(',').next().unwrap()).collect();
    assert_eq!(iterations, ["1", "601", "700"]);
    assert_eq!(rows[3].split(',').nth(3).unwrap().parse::<f64>().unwrap(), accuracy);
    let svg = fs::read_to_string(folder.join("curves.svg")).unwrap();
    for label in ["epoch", "accuracy", "loss", "train", "test", "prefers-color-scheme"] {
        assert!(svg.contains(label), "{label}");
    }

    let model = folder.join("final.safetensors");
    let eval = out(&wengert(&["eval", "--model", text(&model)]));
    assert!(eval.starts_with(&format!("accuracy {accuracy:.4}, loss 0.")), "{eval}");
    let confusion: Vec<Vec<u64>> = eval
        .lines()
        .skip_while(|l| !l.starts_with("confusion"))
        .skip(2)
        .map(|l| l.split_whitespace().skip(1).map(|n| n.parse().unwrap()).collect())
        .collect();
    let diagonal: u64 = (0..10).map(|i| confusion[i][i]).sum();
    assert_eq!(confusion.iter().flatten().sum::<u64>(), 10_000);
    assert_eq!(diagonal, (accuracy * 1e4).round() as u64);

    let images = mnist("t10k-images-idx3-ubyte.gz");
    let predict = out(&wengert(&["predict", "--model", text(&model), "--images", &images, "--index", "0"]));
    assert!(predict.contains('█'), "the digit is drawn");
    let chosen = predict.lines().find(|l| l.starts_with('>')).unwrap();
    assert_eq!(chosen.split_whitespace().nth(1), Some("7"), "the first test image is a seven");
    let sum: f64 = predict
        .lines()
        .filter_map(|l| l.trim_start_matches('>').split_whitespace().nth(1)?.parse::<f64>().ok())
        .sum();
    assert!((sum - 1.0).abs() < 1e-3, "probabilities sum to {sum}");

    // What exists is not overwritten, and what fails leaves nothing.
    fails(2, &["train", "--iters", "1", "--out", text(&folder)]);
    assert_eq!(fs::read_to_string(folder.join("metrics.csv")).unwrap(), metrics);
    let diverged = dir.path().join("diverged");
    let error = fails(1, &["train", "--iters", "300", "--lr", "1e30", "--out", text(&diverged)]);
    assert!(error.contains("learning rate"), "{error}");
    fails(1, &["train", "--iters", "1", "--data", text(dir.path()), "--out", text(&diverged)]);
    assert!(!diverged.exists());

    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let inside = Command::new(env!("CARGO_BIN_EXE_wengert"))
        .args(["train", "--iters", "1", "--data", &mnist(""), "--out", "."])
        .current_dir(&empty)
        .output()
        .unwrap();
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stderr));
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 5);
    let error = fails(1, &["train", "--iters", "1", "--out", "/proc/no/such"]);
    assert!(error.contains("/proc/no/such"), "{error}");

    // A file cut in half is no source of images, even where the image asked for is whole.
    let cut = dir.path().join("cut");
    let whole = fs::read(&images).unwrap();
    fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    fails(1, &["predict", "--model", text(&model), "--images", text(&cut)]);

    // Models of other data.
    let small = dir.path().join("small");
    wengert_idx::write(&small, &ndarray::Array3::<u8>::zeros((2, 5, 5)), wengert_idx::Encoding::Raw).unwrap();
    let error = fails(1, &["predict", "--model", text(&model), "--images", text(&small)]);
    assert!(error.contains("small: expected images of 784 pixels for this model, found 25"), "{error}");
    let error = fails(1, &["predict", "--model", text(&model), "--images", &images, "--index", "10000"]);
    assert!(error.contains("there are 10000 images"), "{error}");
    fails(1, &["predict", "--model", &images, "--images", &images]);
    fails(1, &["eval", "--model", "no-such-file"]);
    fails(1, &["eval", "--model", text(&model), "--data", "no-such-folder"]);
}

#[test]
fn seeds_decide_and_threads_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let model = |name: &str, more: &[&str]| {
        let sub = dir.path().join(name);
        fs::create_dir(&sub).unwrap();
        let (folder, _) = run(&sub, &[&["--iters", "50"], more].concat());
        fs::read(folder.join("final.safetensors")).unwrap()
    };
    let one = model("one", &["--threads", "1"]);
    assert!(one == model("three", &["--threads", "3"]));
    assert!(one != model("seed", &["--seed", "1"]));
    let wide = model("wide", &["--dtype", "f64", "--hidden", "20", "--batch", "7", "--lr", "0.01"]);
    assert!(wide.len() > 8 * 784 * 20 && wide.len() < 8 * 784 * 21);
}

#[test]
fn raw_files_train_as_well() {
    let dir = tempfile::tempdir().unwrap();
    for part in ["train", "t10k"] {
        let (images, labels) = wengert_nn::file_names(part);
        let options = wengert_idx::Options::default();
        for name in [images, labels] {
            let array = wengert_idx::read::<u8>(mnist(&format!("{name}.gz")), &options).unwrap();
            let first = array.slice_axis(ndarray::Axis(0), ndarray::Slice::from(..300));
            wengert_idx::write(dir.path().join(name), &first, wengert_idx::Encoding::Raw).unwrap();
        }
    }
    let (folder, _) = run(dir.path(), &["--iters", "20", "--data", text(dir.path())]);
    assert!(folder.join("curves.svg").exists());
}

#[test]
fn gradcheck_passes() {
    let table = out(&wengert(&["gradcheck", "--hidden", "5"]));
    let differences: Vec<f64> =
        table.lines().skip(1).map(|l| l.split_whitespace().nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(differences.len(), 4, "{table}");
    assert!(differences.iter().all(|d| *d < 1e-9), "{table}");
}

#[test]
fn data_inspect_and_check() {
    let labels = mnist("t10k-labels-idx1-ubyte.gz");
    let images = mnist("t10k-images-idx3-ubyte.gz");
    let inspected = out(&wengert(&["data", "inspect", &labels]));
    for line in ["type   u8", "shape  [10000]", "bytes  10008", "min    0", "max    9", "mean   4.4434"] {
        assert!(inspected.lines().any(|l| l == line), "{line} in {inspected}");
    }
    let error = fails(1, &["data", "inspect", &labels, "--max-bytes", "10007"]);
    assert!(error.contains("announces 10008 bytes, the limit is 10007"), "{error}");
    let checked = out(&wengert(&["data", "check", "--images", &images, "--labels", &labels]));
    assert!(checked.starts_with("10000 images of u8 [28, 28]"), "{checked}");
    fails(1, &["data", "check", "--images", &images, "--labels", &labels, "--classes", "9"]);
    fails(1, &["data", "check", "--images", &labels, "--labels", &labels]);
    fails(1, &["data", "inspect", "datasets"]);
    fails(1, &["data", "inspect", "README.md"]);
}

#[test]
fn graph_in_both_forms() {
    let listing = out(&wengert(&["graph"]));
    assert!(listing.contains("= contract{labels: \"mk,kn->mn\"}(") && listing.contains("\n~ %"), "{listing}");
    assert!(listing.contains("= state W1()") && listing.contains("\n  update b2 := %"), "{listing}");
    let plan = out(&wengert(&["graph", "--plan"]));
    assert!(
        plan.contains("group: chunks 100") && plan.contains("-> f32[784, 50] state W1 in chunks"),
        "{plan}"
    );
    assert!(plan.contains("a workspace takes"), "{plan}");
    let graph = out(&wengert(&["graph", "--graph"]));
    assert!(graph.lines().any(|line| line.ends_with(" in state W1")), "{graph}");
    assert!(!graph.contains("level 0"), "{graph}");
    let schedule = out(&wengert(&["graph", "--schedule"]));
    assert!(schedule.starts_with("level 0\n  group: chunks ") && schedule.contains("tiles of"), "{schedule}");
    let bodies = out(&wengert(&["graph", "--bodies"]));
    assert!(bodies.lines().any(|l| l.starts_with("relu ") && l.contains("{ max x0 c0=0 }")), "{bodies}");
    let passes = out(&wengert(&["graph", "--passes"]));
    assert!(
        passes.contains("rows as recorded\n") && passes.contains("merge equal rows (exact)\n"),
        "{passes}"
    );
    // Where this processor has it.
    let machine = wengert(&["graph", "--machine", "--batch", "2", "--hidden", "3"]);
    assert!(!machine.status.success() || out(&machine).contains(" relu\n"), "the code of small rows");
    let dot = out(&wengert(&["graph", "--format", "dot", "--hidden", "5", "--batch", "2"]));
    assert!(dot.starts_with("digraph") && dot.contains("#ffd6d6") && dot.trim_end().ends_with('}'));
    assert_eq!(dot.matches('{').count(), dot.matches('}').count());
}

#[test]
fn misuse_is_one_line_and_code_two() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["train", "--batch", "0"],
        &["train", "--batch", "many"],
        &["train", "--lr", "-1"],
        &["train", "--lr", "NaN"],
        &["train", "--iters", "0"],
        &["train", "--hidden", "99999999999999"],
        &["train", "--dtype", "f16"],
        &["train", "--threads", "0"],
        &["train", "--no-such-flag"],
        &["eval"],
        &["predict", "--model", "x"],
        &["data"],
        &["data", "check", "--images", "x"],
        &["graph", "--format", "png"],
        &["graph", "--graph", "--plan"],
        &["graph", "--schedule", "--format", "dot"],
        &["graph", "--format", "dot", "--plan"],
        &["graph", "--bodies", "--plan"],
        &["graph", "--machine", "--plan"],
    ] {
        fails(2, arguments);
    }
    for help in [&["--help"][..], &["train", "--help"], &["--version"]] {
        let output = wengert(help);
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty());
    }
}

#[test]
fn damaged_foreign_and_senseless_models_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _) = run(dir.path(), &["--iters", "1"]);
    let model = folder.join("final.safetensors");
    let sound = fs::read(&model).unwrap();
    let header = usize::try_from(u64::from_le_bytes(sound[..8].try_into().unwrap())).unwrap();
    let other = dir.path().join("other.safetensors");
    let eval = |bytes: &[u8]| {
        fs::write(&other, bytes).unwrap();
        fails(1, &["eval", "--model", text(&other)])
    };
    for at in [8 + header, sound.len() / 2, sound.len() - 1] {
        let mut damaged = sound.clone();
        damaged[at] ^= 1;
        assert!(eval(&damaged).contains("checksum"), "byte {at}");
    }
    let mut later = sound.clone();
    let version = later.windows(11).position(|w| w == br#"version\":1"#).unwrap() + 10;
    later[version] = b'9';
    assert!(eval(&later).contains("expected version 1 of the format, found 9"));
    // The header of others, with the same numbers.
    let foreign = |entries: &str, data: &[u8]| {
        let text = format!("{{{entries}}}");
        [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), data].concat()
    };
    let zeros = vec![0u8; 4 * (784 * 2 + 2 + 2 * 10 + 10)];
    let own = r#""W1":{"dtype":"F32","shape":[784,2],"data_offsets":[0,6272]},"b1":{"dtype":"F32","shape":[2],"data_offsets":[6272,6280]},"W2":{"dtype":"F32","shape":[2,10],"data_offsets":[6280,6360]},"b2":{"dtype":"F32","shape":[10],"data_offsets":[6360,6400]}"#;
    fs::write(&other, foreign(own, &zeros)).unwrap();
    let output = wengert(&["eval", "--model", text(&other)]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no checksum"));
    let more = format!(r#"{own},"W3":{{"dtype":"I64","shape":[1],"data_offsets":[6400,6408]}}"#);
    assert!(eval(&foreign(&more, &[&zeros[..], &[0; 8]].concat())).contains("W3"));
    let more = format!(r#"{own},"W3":{{"dtype":"F32","shape":[1],"data_offsets":[6400,6404]}}"#);
    assert!(eval(&foreign(&more, &[&zeros[..], &[0; 4]].concat())).contains("W3 is none of them"));
    let twice = format!(r#"{own},"b2":{{"dtype":"F32","shape":[10],"data_offsets":[6360,6400]}}"#);
    assert!(eval(&foreign(&twice, &zeros)).contains("two tensors named b2"));
    let turned = own.replace("[784,2]", "[2,784]");
    assert!(eval(&foreign(&turned, &zeros)).contains("expected W1"));
    // Weights so large that the logits are infinite.
    let huge: Vec<u8> = (0..zeros.len() / 4).flat_map(|_| 3e38f32.to_le_bytes()).collect();
    let error = eval(&foreign(own, &huge));
    assert!(error.contains("not a finite number"), "{error}");
    let images = mnist("t10k-images-idx3-ubyte.gz");
    assert!(
        fails(1, &["predict", "--model", text(&other), "--images", &images]).contains("not a finite number")
    );
}

#[test]
fn arguments_and_data_that_make_no_sense() {
    let dir = tempfile::tempdir().unwrap();
    let error = fails(2, &["train", "--lr", "-0.1"]);
    assert!(error.contains("expected a finite number above zero"), "{error}");
    let out_dir = dir.path().join("a/b/c");
    let error = fails(2, &["train", "--iters", "1", "--lr", "1e-50", "--out", text(&out_dir)]);
    assert!(error.contains("learning rate") && !dir.path().join("a").exists(), "{error}");
    let (images, labels) = (dir.path().join("images"), dir.path().join("labels"));
    let check = |code: i32, more: &[&str]| {
        fails(
            code,
            &[&["data", "check", "--images", text(&images), "--labels", text(&labels)], more].concat(),
        )
    };
    wengert_idx::write(&labels, &ndarray::array![1u8, 2], wengert_idx::Encoding::Raw).unwrap();
    let mut pixels = ndarray::Array3::<f32>::zeros((2, 5, 4));
    wengert_idx::write(&images, &pixels, wengert_idx::Encoding::Raw).unwrap();
    assert!(check(1, &["--shape", "28x28"]).contains("expected images of [28, 28], found [5, 4]"));
    assert!(check(2, &["--shape", "wide"]).contains("28x28"));
    pixels[[1, 2, 3]] = f32::INFINITY;
    wengert_idx::write(&images, &pixels, wengert_idx::Encoding::Raw).unwrap();
    assert!(check(1, &[]).contains("image 1: expected finite numbers, found inf"));
    wengert_idx::write(&images, &ndarray::Array3::<u8>::zeros((2, 0, 4)), wengert_idx::Encoding::Raw)
        .unwrap();
    assert!(check(1, &[]).contains("expected images with pixels"));

    let output = Command::new(env!("CARGO_BIN_EXE_wengert"))
        .args(["graph"])
        .env("WENGERT_SIMD", "nonsense")
        .current_dir(REPOSITORY)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("expected portable, avx2 or avx512, found nonsense")
    );
    let error = fails(1, &["data", "inspect", "no\u{1b}[31mfile"]);
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn gradients_are_checked_at_black_images_too() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, images: bool| {
        let path = dir.path().join(name);
        let raw = wengert_idx::Encoding::Raw;
        if images {
            wengert_idx::write(&path, &ndarray::Array3::<u8>::zeros((3, 4, 4)), raw).unwrap();
        } else {
            wengert_idx::write(&path, &ndarray::array![1u8, 2, 3], raw).unwrap();
        }
    };
    put("train-images-idx3-ubyte", true);
    put("train-labels-idx1-ubyte", false);
    let output = wengert(&["gradcheck", "--data", text(dir.path()), "--hidden", "6"]);
    let table = out(&output);
    assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
    assert!(table.contains("6 of 6 at a kink of a ReLU, left out"), "{table}");
}

/// Whatever the system refuses: weights, images or a plan.
#[cfg(target_os = "linux")]
#[test]
fn running_out_of_memory_is_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut codes = Vec::new();
    for kilobytes in [70_000, 90_000, 100_000, 120_000] {
        let folder = dir.path().join(kilobytes.to_string());
        let arguments =
            format!("train --iters 1 --hidden 4096 --dtype f64 --threads 1 --out {}", text(&folder));
        let command = format!("ulimit -v {kilobytes}; exec {} {arguments}", env!("CARGO_BIN_EXE_wengert"));
        let output = Command::new("sh").args(["-c", &command]).current_dir(REPOSITORY).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = output.status.code().unwrap_or_else(|| panic!("{kilobytes}: {error}"));
        assert!(code == 0 || (code == 1 && error.lines().count() == 1), "{kilobytes}: {code}, {error}");
        assert_eq!(folder.exists(), code == 0, "{kilobytes}: {error}");
        codes.push(code);
    }
    assert!(codes.contains(&1), "{codes:?}");
}

/// QMNIST's labels have columns, EMNIST's letters 27 classes and names of their own.
#[test]
fn data_sets_of_other_names_train_and_evaluate() {
    let told = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let dir = tempfile::tempdir().unwrap();
    let images = ndarray::Array3::<u8>::from_shape_fn((40, 4, 4), |(n, i, j)| (n * 5 + 4 * i + j) as u8);
    let labels =
        ndarray::Array2::<i32>::from_shape_fn((40, 8), |(n, k)| if k == 0 { n as i32 % 27 } else { 999 });
    for part in ["train", "test"] {
        let gzip = wengert_idx::Encoding::Gzip;
        let file = |name: &str| dir.path().join(format!("raw/letters-{part}-{name}.gz"));
        std::fs::create_dir_all(dir.path().join("raw")).unwrap();
        wengert_idx::write(file("images-idx3-ubyte"), &images, gzip).unwrap();
        wengert_idx::write(file("labels-idx2-int"), &labels, gzip).unwrap();
    }
    let (data, run) = (text(dir.path()).to_owned(), dir.path().join("run"));
    let train = |more: &[&str]| {
        let all = ["train", "--data", &data, "--iters", "20", "--batch", "5", "--out", text(&run), "--json"];
        wengert(&[&all[..], more].concat())
    };
    let few = train(&["--label-column", "0"]);
    assert_eq!(few.status.code(), Some(1));
    assert!(told(&few).contains("label 10: expected 0 to 9, found 10"), "{}", told(&few));
    let plain = train(&["--classes", "27"]);
    assert!(told(&plain).contains("expected labels of one dimension, found [40, 8]"), "{}", told(&plain));
    assert!(train(&["--classes", "27", "--label-column", "0"]).status.success());
    let model = run.join("final.safetensors");
    let found = wengert(&["eval", "--model", text(&model), "--data", &data, "--label-column", "0"]);
    assert!(found.status.success() && out(&found).contains("on 40 images"), "{}", told(&found));
}
