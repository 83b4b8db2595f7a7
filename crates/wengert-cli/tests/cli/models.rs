//! Models as files: summaries, exports, imports, comparisons, pictures, and the server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::runs::few_images;
use super::{fails, mnist, out, run, text, wengert};

fn grey_png(path: &Path, size: (u32, u32), colour: png::ColorType, pixels: &[u8]) {
    let mut encoder = png::Encoder::new(fs::File::create(path).unwrap(), size.0, size.1);
    encoder.set_color(colour);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
}

fn json(line: &str) -> serde_json::Value {
    serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

#[test]
fn images_of_either_format_are_predicted_alike() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _) = run(dir.path(), &["--iters", "700"]);
    let model = folder.join("final.safetensors");
    let images = mnist("t10k-images-idx3-ubyte.gz");
    let predict = |more: &[&str]| {
        let output = wengert(&[&["predict", "--model", text(&model), "--json"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        out(&output).lines().map(json).collect::<Vec<_>>()
    };
    let several = predict(&["--images", &images, "--index", "0-2,5"]);
    let numbers: Vec<u64> = several.iter().map(|line| line["index"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 5]);
    assert_eq!(several[0]["class"], 7);
    assert_eq!(several[0]["probabilities"].as_array().unwrap().len(), 10);
    assert_eq!(several[0]["probabilities"][7], several[0]["probability"]);
    assert_eq!(predict(&["--images", &images, "--index", "all"]).len(), 10_000);

    // The same image as a PNG: grey, in colour, negated, and with each pixel as a square of four.
    let all = wengert_idx::read::<u8>(&images, &wengert_idx::Options::default()).unwrap();
    let pixels: Vec<u8> = all.iter().take(784).copied().collect();
    let due = several[0]["probabilities"].clone();
    let file = dir.path().join("seven.png");
    let only =
        |more: &[&str]| predict(&[&["--images", text(&file)], more].concat())[0]["probabilities"].clone();
    grey_png(&file, (28, 28), png::ColorType::Grayscale, &pixels);
    assert_eq!(only(&[]), due);
    let colours: Vec<u8> = pixels.iter().flat_map(|&p| [p, p, p, 255]).collect();
    grey_png(&file, (28, 28), png::ColorType::Rgba, &colours);
    assert_eq!(only(&[]), due);
    let paper: Vec<u8> = pixels.iter().map(|p| 255 - p).collect();
    grey_png(&file, (28, 28), png::ColorType::Grayscale, &paper);
    assert_eq!(only(&["--invert"]), due);
    let large: Vec<u8> = (0..56 * 56).map(|i| pixels[i / 56 / 2 * 28 + i % 56 / 2]).collect();
    grey_png(&file, (56, 56), png::ColorType::Grayscale, &large);
    assert_eq!(only(&[]), due);
    // Two files, each a line.
    let both = out(&wengert(&["predict", "--model", text(&model), "--images", text(&file), &images]));
    assert_eq!(both.lines().count(), 2, "{both}");
    assert!(both.lines().all(|line| line.contains(" 0: 7 (")), "{both}");

    // Ink on nothing, as programs to draw with export it.
    let ink: Vec<u8> = pixels.iter().flat_map(|&p| [0, p]).collect();
    grey_png(&file, (28, 28), png::ColorType::GrayscaleAlpha, &ink);
    assert_eq!(only(&["--invert"]), due);
    let text_file = dir.path().join("a.txt");
    fs::write(&text_file, "not an image").unwrap();
    let error = fails(1, &["predict", "--model", text(&model), "--images", text(&text_file)]);
    assert!(error.contains("or a PNG"), "{error}");
    fs::write(&file, &fs::read(&file).unwrap()[..60]).unwrap();
    assert!(fails(1, &["predict", "--model", text(&model), "--images", text(&file)]).contains("seven.png"));
    fails(2, &["predict", "--model", text(&model), "--images", &images, "--index", "3-1"]);
    fails(2, &["predict", "--model", text(&model)]);
    let error = fails(1, &["predict", "--model", text(&model), "--images", &images, "--index", "9999-10000"]);
    assert!(error.contains("there are 10000 images, no number 10000"), "{error}");
}

#[test]
fn models_are_summed_up_exported_and_imported() {
    let summary = out(&wengert(&["summary", "--model", "lenet"]));
    assert!(summary.contains("in all") && summary.contains("61706"), "{summary}");
    assert!(summary.contains("conv1.weight  f32[6, 1, 5, 5]"), "{summary}");
    let gru =
        out(&wengert(&["summary", "--model", "gru:8", "--image", "7x5", "--classes", "3", "--dtype", "f64"]));
    assert!(gru.contains("f64[5, 24]"), "{gru}");
    assert!(fails(2, &["summary", "--model", "lenet", "--image", "6x6"]).contains("too small for lenet"));
    assert!(fails(2, &["summary", "--model", "nonsense"]).contains("model: expected a model such as"));
    fails(2, &["summary", "--image", "28x28x3"]);

    let dir = tempfile::tempdir().unwrap();
    let settings = [
        "--model",
        "conv",
        "--iters",
        "2",
        "--batch",
        "8",
        "--measured",
        "50",
        "--checkpoint-every",
        "1",
        "--validation",
        "0",
        "--ema",
        "0.5",
    ];
    let data = few_images(dir.path());
    let (folder, _) = run(dir.path(), &[&settings[..], &["--data", text(&data)]].concat());
    let (model, npz) = (folder.join("final.safetensors"), dir.path().join("model.npz"));
    assert!(out(&wengert(&["summary", text(&model)])).contains("352 running statistics"));
    assert!(wengert(&["export", "--model", text(&model), "--npz", text(&npz)]).status.success());
    let back = dir.path().join("back.safetensors");
    let import = ["import", "--model", "conv", "--weights", text(&npz), "--out", text(&back)];
    assert!(wengert(&import).status.success());
    let eval = |path: &Path| out(&wengert(&["eval", "--model", text(path), "--data", text(&data)]));
    assert_eq!(eval(&model), eval(&back));
    // Without a validation split the averages of the last checkpoint are the model.
    let checkpoint = folder.join("checkpoints/step-0000000002.safetensors");
    assert_eq!(eval(&model), eval(&checkpoint));
    let told = out(&wengert(&["checkpoint", "inspect", text(&checkpoint)]));
    for due in [
        "kind        checkpoint",
        "step        2",
        "model            conv",
        "optim/conv1.weight/m",
        "stat/bn1.running_var",
    ] {
        assert!(told.contains(due), "{due} in {told}");
    }
    assert!(out(&wengert(&["checkpoint", "inspect", text(&model)])).contains("kind        model"));

    let error = fails(1, &["import", "--model", "lenet", "--weights", text(&npz), "--out", text(&back)]);
    assert!(error.contains("expected conv1.weight to be f32[6, 1, 5, 5], found f32[16, 1, 3, 3]"), "{error}");
    let error = fails(1, &["import", "--model", "gru", "--weights", text(&npz), "--out", text(&back)]);
    assert!(error.contains("found none"), "{error}");
    fs::write(&npz, &fs::read(&npz).unwrap()[..5000]).unwrap();
    assert!(fails(1, &import).contains("no .npz file"));
    let mut other = fs::read(&checkpoint).unwrap();
    other[9000] ^= 8;
    fs::write(&checkpoint, other).unwrap();
    assert!(fails(1, &["checkpoint", "inspect", text(&checkpoint)]).contains("checksum"));
    // No path of this machine is in what is kept.
    let bytes = fs::read(&model).unwrap();
    let place = text(dir.path()).as_bytes();
    assert!(!bytes.windows(place.len()).any(|window| window == place));
}

#[test]
fn runs_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let train = |name: &str, more: &[&str]| {
        let folder = dir.path().join(name);
        let all = ["train", "--iters", "30", "--out", text(&folder), "--json"];
        assert!(wengert(&[&all[..], more].concat()).status.success());
        folder
    };
    let (a, b) = (train("a", &[]), train("b", &["--lr", "0.2", "--checkpoint-every", "10"]));
    // One that is not finished counts by its newest checkpoint.
    fs::remove_file(b.join("final.safetensors")).unwrap();
    let picture = dir.path().join("both.svg");
    let table = out(&wengert(&["compare", text(&a), text(&b), "--picture", text(&picture)]));
    assert!(table.contains("lr") && table.contains("0.1") && table.contains("0.2"), "{table}");
    assert!(!table.contains("optimizer"), "what is the same is not told: {table}");
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.contains(text(&a)) && svg.contains("(dashed)"), "{svg}");
    let output = wengert(&["compare", text(&a), text(dir.path()), "--picture", text(&picture)]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("expected the folder of a run"), "{error}");
    assert!(out(&output).contains(text(&a)), "those that there are are compared");
    // Where a link leads is replaced, and a device stays one.
    #[cfg(unix)]
    {
        let link = dir.path().join("link.svg");
        std::os::unix::fs::symlink(&picture, &link).unwrap();
        fs::write(&picture, "old").unwrap();
        assert!(wengert(&["compare", text(&a), "--picture", text(&link)]).status.success());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&picture).unwrap().contains("<svg"));
        assert!(wengert(&["compare", text(&a), "--picture", "/dev/null"]).status.success());
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
    fails(2, &["compare"]);
}

/// The page of a run is whole in itself, whatever is in it.
#[test]
fn a_report_asks_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let data = few_images(dir.path());
    for model in ["mlp:784-12-10", "lenet", "gru:6"] {
        let name = dir.path().join(model.replace(':', "-"));
        let all = [
            "train",
            "--model",
            model,
            "--iters",
            "6",
            "--measured",
            "100",
            "--data",
            text(&data),
            "--out",
            text(&name),
            "--json",
        ];
        let output = wengert(&all);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let page = fs::read_to_string(name.join("report.html")).unwrap();
        for due in
            ["<h2>Confusion</h2>", "data:image/png;base64,", "GFLOP/s", "<h2>The tape</h2>", "viewport"]
        {
            assert!(page.contains(due), "{model}: {due}");
        }
        assert!(page.contains(&format!("<title>{model}, adam</title>")));
        // Its numbers are those of the program: all images are in the matrix, what is right on its diagonal.
        let said = json(&out(&output));
        let accuracy = said["test_accuracy"].as_f64().unwrap();
        assert!(page.contains(&format!("<b>{:.2} %</b><span>test accuracy</span>", 100.0 * accuracy)));
        let count =
            |cell: &str| cell.rsplit('>').nth(1).and_then(|text| text.split('<').next()?.parse::<u64>().ok());
        let cells: Vec<&str> = page.split("<td").filter(|cell| cell.contains("taken for")).collect();
        let of = |kind: bool| -> u64 {
            let cells = cells.iter().filter(|cell| cell.contains("title=") && cell.contains("hit") == kind);
            cells
                .filter_map(|cell| cell.split("</td>").next().and_then(|cell| count(&format!("{cell}</td>"))))
                .sum()
        };
        assert_eq!(of(true), (accuracy * 200.0).round() as u64, "{model}");
        assert_eq!(of(true) + of(false), 200, "{model}");
        for never in ["http://", "https://", "<script", "@import", "url("] {
            assert!(!page.contains(never), "{model}: {never}");
        }
        for tag in ["table", "svg", "figure", "details", "div"] {
            let (open, close) =
                (page.matches(&format!("<{tag}")).count(), page.matches(&format!("</{tag}>")).count());
            assert_eq!(open, close, "{model}: {tag}");
        }
    }
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_server_answers_many_and_refuses_what_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, _) = run(dir.path(), &["--iters", "700"]);
    let model = folder.join("final.safetensors");
    let mut child = Command::new(env!("CARGO_BIN_EXE_wengert"))
        .args(["serve", "--model", text(&model), "--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _server = Server(child);
    let address = line.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    assert!(address.starts_with("127.0.0.1:"), "loopback alone: {line}");
    let ask = |head: &str, body: &[u8]| {
        let mut stream = TcpStream::connect(&address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let length = body.len();
        let head = format!(
            "{head} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        // It may have refused before it read all of it.
        let _ = stream.write_all(body);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let status: u16 = answer.split_whitespace().nth(1).unwrap_or("0").parse().unwrap();
        (status, answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned()))
    };
    let (status, page) = ask("GET /", b"");
    assert!(status == 200 && page.contains("<canvas id=\"pad\""));
    let (_, described) = ask("GET /model", b"");
    assert_eq!(json(&described)["model"], "two-layer:50");

    let images = wengert_idx::read::<u8>(mnist("t10k-images-idx3-ubyte.gz"), &Default::default()).unwrap();
    let pixels: Vec<u8> = images.iter().take(784).copied().collect();
    let (status, found) = ask("POST /predict", &pixels);
    let found = json(&found);
    assert_eq!((status, found["class"].as_u64()), (200, Some(7)), "{found}");
    // The gradient of the winning logit, by differences of a network that is linear between its kinks.
    let net = wengert_nn::Model::load(&model).unwrap();
    let logit = |moved: Option<(usize, f64)>| -> f64 {
        let mut x: Vec<f64> = pixels.iter().map(|&p| f64::from(p) / 255.0).collect();
        if let Some((at, by)) = moved {
            x[at] += by;
        }
        let number = |name: &str| net.parameter(name).unwrap().to_f64();
        let (w1, b1, w2, b2) = (number("W1"), number("b1"), number("W2"), number("b2"));
        let hidden = (0..50).map(|h| (b1[h] + (0..784).map(|i| x[i] * w1[i * 50 + h]).sum::<f64>()).max(0.0));
        b2[7] + hidden.enumerate().map(|(h, value)| value * w2[h * 10 + 7]).sum::<f64>()
    };
    for at in [300, 406, 500] {
        let slope = (logit(Some((at, 1e-5))) - logit(Some((at, -1e-5)))) / 2e-5;
        let told = found["saliency"][at].as_f64().unwrap();
        assert!((slope - told).abs() < 1e-4 * (1.0 + slope.abs()), "pixel {at}: {slope} and {told}");
    }
    for (head, body, due) in [
        ("POST /predict", &pixels[1..], 400),
        ("POST /predict", &[0; 785][..], 413),
        ("POST /predict", &[0; 100_000][..], 413),
        ("GET /predict", b"", 405),
        ("DELETE /", b"", 405),
        ("GET /etc/passwd", b"", 404),
    ] {
        let (status, said) = ask(head, body);
        // A client that still writes may not hear the refusal.
        assert!(status == due || (status == 0 && body.len() > 785), "{head}: {status}");
        assert!(status == 0 || json(&said)["error"].is_string(), "{said}");
    }
    let mut garbage = TcpStream::connect(&address).unwrap();
    garbage.write_all(b"\x16\x03\x01 nonsense\r\n\r\n").unwrap();
    let silent: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let classes: Vec<Option<u64>> = std::thread::scope(|scope| {
        let ask = || json(&ask("POST /predict", &pixels).1)["class"].as_u64();
        let all: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        all.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(classes, [Some(7); 8]);
    drop(silent);

    let port = address.rsplit(':').next().unwrap();
    let error = fails(1, &["serve", "--model", text(&model), "--port", port]);
    assert!(error.contains(&address), "{error}");
    fails(1, &["serve", "--model", "no-such-file"]);
    fails(2, &["serve", "--model", text(&model), "--port", "65536"]);
}
