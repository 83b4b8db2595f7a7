//! Runs that are interrupted, killed, damaged and taken up again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{fails, mnist, out, text, wengert};

/// A data set of the first images of MNIST, which loads at once.
pub(super) fn few_images(dir: &Path) -> PathBuf {
    let data = dir.join("data");
    fs::create_dir(&data).unwrap();
    for (part, count) in [("train", 1200), ("t10k", 200)] {
        let (images, labels) = wengert_nn::file_names(part);
        for name in [images, labels] {
            let options = wengert_idx::Options::default();
            let array = wengert_idx::read::<u8>(mnist(&format!("{name}.gz")), &options).unwrap();
            let first = array.slice_axis(ndarray::Axis(0), ndarray::Slice::from(..count));
            wengert_idx::write(data.join(name), &first, wengert_idx::Encoding::Raw).unwrap();
        }
    }
    data
}

/// Settings under which much has a state: an optimiser, averages, measured inputs, dropout, a rate that falls on a plateau, patience, variations, a partial last batch, a best model.
const EVERYTHING: [&str; 27] = [
    "--normalize",
    "--patience",
    "12",
    "--model",
    "mlp:784-24-10",
    "--epochs",
    "14",
    "--batch",
    "64",
    "--optimizer",
    "adam",
    "--ema",
    "0.9",
    "--dropout",
    "0.2",
    "--augment",
    "shift:2,rotate:10",
    "--schedule",
    "plateau:0.5:1",
    "--validation",
    "0.25",
    "--clip",
    "norm:1",
    "--weight-decay",
    "0.001",
    "--seed",
    "18446744073709551615",
];

fn arguments<'a>(data: &'a Path, folder: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--data", text(data), "--out", text(folder)], more].concat()
}

fn started(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_wengert"))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn succeeds(arguments: &[&str]) -> Output {
    let output = wengert(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", told(&output));
    output
}

fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("checkpoints")).into_iter().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let clock = Instant::now();
    while !done() {
        assert!(clock.elapsed() < Duration::from_secs(60), "{what}");
        sleep(Duration::from_millis(1));
    }
}

/// The bytes of the model do not say whether the run was killed, however often, and by how many threads it was taken up again.
#[test]
fn killed_at_any_moment_a_run_ends_with_the_same_bits() {
    let kills: u32 = std::env::var("WENGERT_KILLS").ok().map_or(25, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let data = few_images(dir.path());
    let whole = dir.path().join("whole");
    succeeds(&arguments(&data, &whole, &EVERYTHING));
    let due = fs::read(whole.join("final.safetensors")).unwrap();

    let mut rng = wengert::Sampler::new(7);
    let (mut killed, mut folder) = (0, dir.path().join("run-0"));
    let mut resumed = 0;
    while killed < kills {
        let threads = (1 + killed % 3).to_string();
        let every = (1 + killed % 7).to_string();
        let more = ["--resume", "--checkpoint-every", &every, "--keep", "2", "--threads", &threads];
        let more = [&EVERYTHING[..], &more].concat();
        let mut child = started(&arguments(&data, &folder, &more));
        sleep(Duration::from_micros(10_000 + (rng.unit() * 140_000.0) as u64));
        child.kill().unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            assert!(fs::read(folder.join("final.safetensors")).unwrap() == due, "{}", folder.display());
            folder = dir.path().join(format!("run-{killed}"));
            continue;
        }
        assert!(output.status.code().is_none(), "{}", told(&output));
        killed += 1;
        resumed += usize::from(!checkpoints(&folder).is_empty());
    }
    assert!(resumed > 0, "none was killed behind a checkpoint");
    succeeds(&arguments(&data, &folder, &["--resume", "--keep", "2"]));
    assert!(fs::read(folder.join("final.safetensors")).unwrap() == due);
    let names = fs::read_dir(&folder).unwrap().chain(fs::read_dir(folder.join("checkpoints")).unwrap());
    for name in names.map(|entry| entry.unwrap().file_name().into_string().unwrap()) {
        assert!(!name.ends_with(".partial"), "{name}");
    }
    // The curve of the whole run is there, with times.
    let metrics = fs::read_to_string(folder.join("metrics.csv")).unwrap();
    let without_times = |text: &str| -> Vec<String> {
        let rows = text.lines().map(|row| row.split(',').enumerate().filter(|(i, _)| *i != 4));
        rows.map(|row| row.map(|(_, cell)| cell).collect::<Vec<_>>().join(",")).collect()
    };
    let other = fs::read_to_string(whole.join("metrics.csv")).unwrap();
    assert_eq!(without_times(&metrics), without_times(&other));
}

/// The signals that people and schedulers send end a step, not half of one.
#[cfg(unix)]
#[test]
fn signals_leave_a_checkpoint_and_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let data = few_images(dir.path());
    let whole = dir.path().join("whole");
    let few = ["--iters", "3000", "--hidden", "10"];
    succeeds(&arguments(&data, &whole, &few));
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let folder = dir.path().join(signal);
        let more = [&few[..], &["--checkpoint-every", "20", "--keep", "1"]].concat();
        let child = started(&arguments(&data, &folder, &more));
        wait_for("a first checkpoint", || !checkpoints(&folder).is_empty());
        let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
        let output = child.wait_with_output().unwrap();
        let error = told(&output);
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(error.lines().count() == 1 && error.contains("interrupted at step "), "{error}");
        assert_eq!(checkpoints(&folder).len(), 1);
        let again = succeeds(&arguments(&data, &folder, &["--resume"]));
        assert!(out(&again).contains(" of 3000 steps in "), "{}", out(&again));
        // How often it is kept is remembered.
        assert_eq!(checkpoints(&folder).len(), 1);
        assert!(text(&checkpoints(&folder)[0]).contains("3000"));
        let (a, b) = (folder.join("final.safetensors"), whole.join("final.safetensors"));
        assert!(fs::read(a).unwrap() == fs::read(b).unwrap());
    }
}

/// Runs without a name of their own take the next that is free, and where no folder can be opened none is made.
#[cfg(target_os = "linux")]
#[test]
fn runs_without_a_name_take_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let data = few_images(dir.path());
    let run = |before: &str| {
        let program = env!("CARGO_BIN_EXE_wengert");
        let command = format!("{before} exec {program} train --iters 2 --hidden 2 --data {}", text(&data));
        Command::new("sh").args(["-c", &command]).current_dir(dir.path()).output().unwrap()
    };
    for name in ["seed-0", "seed-0-2"] {
        let output = run("");
        assert!(output.status.success() && dir.path().join("runs").join(name).is_dir(), "{}", told(&output));
    }
    // With fewer the program is not even loaded.
    for files in 5..12 {
        let output = run(&format!("ulimit -n {files};"));
        assert!(output.status.success() || output.status.code() == Some(1), "{files}: {}", told(&output));
    }
    for entry in fs::read_dir(dir.path().join("runs")).unwrap().map(|entry| entry.unwrap().path()) {
        assert!(entry.join("final.safetensors").exists(), "{}", entry.display());
    }
}

#[test]
fn two_trainings_do_not_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (few_images(dir.path()), dir.path().join("run"));
    let more = ["--iters", "1000000", "--hidden", "5", "--checkpoint-every", "10"];
    let mut child = started(&arguments(&data, &folder, &more));
    wait_for("a first checkpoint", || !checkpoints(&folder).is_empty());
    let error = fails(1, &arguments(&data, &folder, &["--resume"]));
    assert!(error.contains("another training is at work"), "{error}");
    let error = fails(1, &arguments(&data, &folder, &more));
    assert!(error.contains("another training is at work"), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    // Its lock ended with it.
    let error = fails(2, &arguments(&data, &folder, &["--resume", "--iters", "5"]));
    assert!(error.contains("iters = 1000000, found 5"), "{error}");
}

/// What is damaged is passed over, told, and made again.
#[test]
fn the_newest_sound_checkpoint_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (few_images(dir.path()), dir.path().join("run"));
    let few = ["--iters", "60", "--hidden", "5", "--checkpoint-every", "10", "--keep", "4"];
    succeeds(&arguments(&data, &folder, &few));
    let model = folder.join("final.safetensors");
    let due = fs::read(&model).unwrap();
    assert_eq!(checkpoints(&folder).len(), 4);

    // A run that is finished stays as it is.
    let again = succeeds(&arguments(&data, &folder, &["--resume"]));
    assert!(out(&again).starts_with("this run is finished"), "{}", out(&again));
    assert!(fs::read(&model).unwrap() == due);
    // Pictures that are gone are drawn again.
    fs::remove_file(folder.join("report.html")).unwrap();
    fs::remove_file(folder.join("metrics.csv")).unwrap();
    succeeds(&arguments(&data, &folder, &["--resume"]));
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("<h2>Confusion</h2>") && folder.join("metrics.csv").exists());

    fs::remove_file(&model).unwrap();
    let all = checkpoints(&folder);
    let mut bytes = fs::read(&all[3]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&all[3], &bytes).unwrap();
    fs::write(&all[2], &bytes[..100]).unwrap();
    fs::write(folder.join("checkpoints/step-0000000060.safetensors.1-0.partial"), "half").unwrap();
    let output =
        succeeds(&arguments(&data, &folder, &["--resume", "--checkpoint-every", "7", "--keep", "1"]));
    let notes = told(&output);
    assert_eq!(notes.lines().count(), 2, "{notes}");
    assert!(notes.contains("checksum") && notes.contains(text(&all[2])), "{notes}");
    assert!(fs::read(&model).unwrap() == due);
    assert!(checkpoints(&folder).iter().all(|path| !text(path).ends_with("partial")));

    // With none that is sound it begins anew, and ends the same.
    fs::remove_file(&model).unwrap();
    for path in checkpoints(&folder) {
        fs::write(path, "nothing").unwrap();
    }
    let output = succeeds(&arguments(&data, &folder, &["--resume"]));
    assert!(told(&output).contains("begins anew"), "{}", told(&output));
    assert!(fs::read(&model).unwrap() == due);
}

/// Takes back what was done to the label of an image.
fn bytes_back(labels: &Path) {
    let mut bytes = fs::read(labels).unwrap();
    bytes[100] = (bytes[100] + 9) % 10;
    fs::write(labels, bytes).unwrap();
}

#[test]
fn what_differs_from_the_run_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (few_images(dir.path()), dir.path().join("run"));
    let few = ["--iters", "30", "--hidden", "5", "--checkpoint-every", "10"];
    succeeds(&arguments(&data, &folder, &few));
    let resumed = |more: &[&str]| fails(2, &arguments(&data, &folder, &[&["--resume"], more].concat()));
    for (flag, value, name) in [
        ("--lr", "0.2", "lr = 0.1, found 0.2"),
        ("--batch", "50", "batch = 100, found 50"),
        ("--seed", "4", "seed = 0, found 4"),
        ("--hidden", "6", "model = two-layer:5, found two-layer:6"),
        ("--optimizer", "adam", "optimizer = sgd, found adam"),
        ("--augment", "flip", "augment = none, found flip"),
        ("--dtype", "f64", "dtype = f32, found f64"),
    ] {
        let error = resumed(&[flag, value]);
        assert!(error.contains(name), "{error}");
    }
    // The same settings said again are no difference; nor is what does not change the model.
    succeeds(&arguments(&data, &folder, &["--resume", "--lr", "0.1", "--threads", "1", "--keep", "9"]));
    // Other images under the same names.
    let labels = data.join(wengert_nn::file_names("train").1);
    let mut bytes = fs::read(&labels).unwrap();
    bytes[100] = (bytes[100] + 1) % 10;
    fs::write(&labels, bytes).unwrap();
    fs::remove_file(folder.join("final.safetensors")).unwrap();
    let error = fails(1, &arguments(&data, &folder, &["--resume"]));
    assert!(error.contains("the data had the checksum"), "{error}");
    // Settings that were written over.
    bytes_back(&labels);
    let config = folder.join("config.toml");
    let sound = fs::read_to_string(&config).unwrap();
    fs::write(&config, sound.replace("lr = 0.1", "lr = 0.2")).unwrap();
    let error = fails(2, &arguments(&data, &folder, &["--resume"]));
    assert!(error.contains("config.toml: this run was begun with lr = 0.1, found 0.2"), "{error}");
    fs::write(&config, sound).unwrap();
    succeeds(&arguments(&data, &folder, &["--resume"]));
    // Of a finished run, too, the data are those that it was made with.
    let mut bytes = fs::read(&labels).unwrap();
    bytes[100] = (bytes[100] + 1) % 10;
    fs::write(&labels, bytes).unwrap();
    assert!(fails(1, &arguments(&data, &folder, &["--resume"])).contains("the data are not those"));
    let foreign = dir.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter.txt"), "mine").unwrap();
    assert!(fails(2, &arguments(&data, &foreign, &["--resume"])).contains("no folder of a run"));
}

/// A file of settings repeats a run, and says what it does not understand.
#[test]
fn configurations_repeat_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (few_images(dir.path()), dir.path().join("run"));
    succeeds(&arguments(&data, &folder, &EVERYTHING));
    let config = folder.join("config.toml");
    let again = dir.path().join("again");
    succeeds(&["train", "--config", text(&config), "--out", text(&again)]);
    for name in ["final.safetensors", "config.toml"] {
        assert!(fs::read(folder.join(name)).unwrap() == fs::read(again.join(name)).unwrap(), "{name}");
    }
    let sound = fs::read_to_string(&config).unwrap();
    let other = dir.path().join("other.toml");
    for (from, to, due) in [
        ("batch = 64", "batch = \"many\"", "invalid type: string \"many\""),
        ("batch = 64", "bach = 64", "unknown field `bach`"),
        ("batch = 64", "batch = = 64", "line "),
        ("\"adam\"", "\"adamm\"", "optimizer: expected sgd, "),
        ("validation = 0.25", "validation = 1.25", "validation: expected a number from 0 up to 1"),
        ("folder = ", "foldr = ", "data.foldr"),
        ("mlp:784-24-10", "mlp:784-24-11", "784 pixels at first and 10 classes at last"),
    ] {
        assert!(sound.contains(from), "{from}");
        fs::write(&other, sound.replace(from, to)).unwrap();
        let error = fails(2, &["train", "--config", text(&other), "--out", text(&dir.path().join("no"))]);
        assert!(error.contains(due), "{error}");
    }
    fails(1, &["train", "--config", text(&dir.path().join("none.toml"))]);
}

/// What cannot be written is one line, and what was there stays.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_last_good_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (few_images(dir.path()), dir.path().join("run"));
    succeeds(&arguments(&data, &folder, &["--iters", "20", "--hidden", "50", "--checkpoint-every", "10"]));
    fs::remove_file(folder.join("final.safetensors")).unwrap();
    fs::remove_file(folder.join("checkpoints/step-0000000020.safetensors")).unwrap();
    let kept = folder.join("checkpoints/step-0000000010.safetensors");
    let due = fs::read(&kept).unwrap();
    // Files of more than 64 blocks cannot be written, as on a disk that is full.
    let all = arguments(&data, &folder, &["--resume", "--checkpoint-every", "5"]).join(" ");
    let command = format!("ulimit -f 64; exec {} {all}", env!("CARGO_BIN_EXE_wengert"));
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let error = told(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.lines().count() == 1 && error.contains("step-0000000015"), "{error}");
    assert!(fs::read(&kept).unwrap() == due);
    assert_eq!(checkpoints(&folder), [kept]);
    succeeds(&arguments(&data, &folder, &["--resume"]));
}

/// A second signal ends at once what takes long to end.
#[cfg(unix)]
#[test]
fn a_second_signal_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (few_images(dir.path()), dir.path().join("run"));
    // Steps of some seconds.
    let slow = ["--model", "conv", "--epochs", "9", "--batch", "1080", "--dtype", "f64", "--threads", "1"];
    let child = started(&arguments(&data, &folder, &slow));
    wait_for("settings", || fs::metadata(folder.join("config.toml")).is_ok_and(|file| file.len() > 0));
    sleep(Duration::from_millis(100));
    let send = || {
        let sent = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    };
    send();
    sleep(Duration::from_millis(300));
    send();
    let clock = Instant::now();
    let output = child.wait_with_output().unwrap();
    let error = told(&output);
    assert_eq!(output.status.code(), Some(130), "{error}");
    // Not by the first, which would end the step and keep it.
    assert!(error.is_empty() && checkpoints(&folder).is_empty(), "{error}");
    assert!(clock.elapsed() < Duration::from_secs(20));
}

/// Whoever looks no more, and a disk that is full at the first checkpoint, cost nothing that was there.
#[cfg(unix)]
#[test]
fn nothing_is_lost_where_nothing_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (few_images(dir.path()), dir.path().join("run"));
    let program = env!("CARGO_BIN_EXE_wengert");
    let run = |command: String| Command::new("sh").args(["-c", &command]).output().unwrap();
    let all = arguments(&data, &folder, &["--iters", "40", "--hidden", "50"]).join(" ");
    let output = run(format!("exec {program} {all} | true"));
    assert!(output.status.success() && told(&output).is_empty(), "{}", told(&output));
    assert!(folder.join("final.safetensors").exists(), "it went on to the end");

    let other = dir.path().join("other");
    let all =
        arguments(&data, &other, &["--iters", "40", "--hidden", "50", "--checkpoint-every", "7"]).join(" ");
    let output = run(format!("ulimit -f 64; exec {program} {all}"));
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(!other.exists(), "a run without a checkpoint leaves nothing");
    // Without checkpoints the end is too large, and nothing is left of that either.
    let all = arguments(&data, &other, &["--iters", "40", "--hidden", "50"]).join(" ");
    let output = run(format!("ulimit -f 64; exec {program} {all}"));
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(!other.exists());
}

/// The model is written before its pictures.
#[cfg(target_os = "linux")]
#[test]
fn a_model_is_not_lost_with_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (few_images(dir.path()), dir.path().join("run"));
    // The model takes 40 blocks of 512 bytes, the page more than 64.
    let all = arguments(&data, &folder, &["--iters", "40", "--hidden", "5"]).join(" ");
    let command = format!("ulimit -f 64; exec {} {all}", env!("CARGO_BIN_EXE_wengert"));
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let error = told(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("report.html") && error.lines().count() == 1, "{error}");
    assert!(folder.join("final.safetensors").exists() && !folder.join("report.html").exists());
    succeeds(&arguments(&data, &folder, &["--resume"]));
    assert!(folder.join("report.html").exists());
}

/// What is not a run's is not touched, whatever it is called.
#[test]
fn files_of_others_stay() {
    let dir = tempfile::tempdir().unwrap();
    let (data, folder) = (few_images(dir.path()), dir.path().join("run"));
    fs::create_dir_all(folder.join("checkpoints")).unwrap();
    let mine = [folder.join("film.mkv.partial"), folder.join("checkpoints/film.partial")];
    mine.iter().for_each(|path| fs::write(path, "half").unwrap());
    assert!(fails(2, &arguments(&data, &folder, &["--resume"])).contains("no folder of a run"));
    mine.iter().for_each(|path| fs::remove_file(path).unwrap());
    fs::remove_dir(folder.join("checkpoints")).unwrap();
    succeeds(&arguments(&data, &folder, &["--iters", "20", "--hidden", "5", "--checkpoint-every", "10"]));
    mine.iter().for_each(|path| fs::write(path, "half").unwrap());
    let stale = folder.join("report.html.12-0.partial");
    fs::write(&stale, "half").unwrap();
    fs::remove_file(folder.join("final.safetensors")).unwrap();
    succeeds(&arguments(&data, &folder, &["--resume"]));
    assert!(mine.iter().all(|path| path.exists()) && !stale.exists());
}
