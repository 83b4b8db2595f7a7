//! What must not compile, by the part of the message that says what to do. The compiler's whole text changes from release to release.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Statements, each refused with a message that contains the phrase. Those of the second list are refused only where everything else
/// is sound.
const BY_TYPES: &[(&str, &str)] = &[
    ("x.max(x);", "the larger of two arrays is `x.maximum(y)`"),
    ("x + \"one\";", "`&str` cannot stand beside a `Var`"),
    ("t.input(F64, \"two\");", "`&str` names no shape"),
    ("x.reshape(1.5);", "names no shape"),
    ("t.constant(\"text\");", "a tensor cannot be made of `&str`"),
    ("x.slice(0, 3);", "one position is `x.at(i)`"),
    ("x.gradients(3);", "`{integer}` is no variables"),
    ("x.unpack(\"mu\");", "layouts are pairs of a name and a shape"),
    ("program.call(3.0);", "one alone is `&x`"),
    ("f.gradient(&[1.0], &mut \"here\");", "results cannot be written to"),
    (
        "Program::record(&States::new(), |t| t.input(F64, [2]));",
        "a recording returns its outputs, not `Var<'_>`",
    ),
    (
        "std::thread::scope(|s| { s.spawn(|| t.input(F64, [2]).shape()); });",
        "cannot be shared between threads safely",
    ),
];
const BY_LIFETIMES: &[(&str, &str)] =
    &[("let double = |x: Var<'_>| x * 2; double(x);", "lifetime may not live long enough")];

/// The library that this program was built with: of several the newest.
fn library() -> (PathBuf, PathBuf) {
    let deps = env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let built = fs::read_dir(&deps).unwrap().map(|entry| entry.unwrap().path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libwengert-") && name.ends_with(".rlib")
    });
    let newest = built.max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    (newest.expect("the library beside this program"), deps)
}

/// What the compiler says of these statements, each in a function of its own.
fn messages(statements: &[(&str, &str)], folder: &Path) -> String {
    let mut source = String::from(
        "#![allow(unused)]\nuse wengert::{Function, Program, Recorder, States, Var, DType::F64};\n",
    );
    for (i, (statement, _)) in statements.iter().enumerate() {
        source += &format!(
            "pub fn case{i}(t: &Recorder, x: Var<'_>, program: &Program, f: &Function) {{ {statement} }}\n"
        );
    }
    let (library, deps) = library();
    let path = folder.join("refused.rs");
    fs::write(&path, source).unwrap();
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--out-dir"])
        .arg(folder)
        .arg("-L")
        .arg(format!("dependency={}", deps.display()))
        .arg("--extern")
        .arg(format!("wengert={}", library.display()))
        .arg(&path)
        .output()
        .unwrap();
    assert!(!output.status.success(), "all of it compiles");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_must_not_compile_is_refused_with_a_message_that_names_the_way() {
    let folder = tempfile::tempdir().unwrap();
    for statements in [BY_TYPES, BY_LIFETIMES] {
        let text = messages(statements, folder.path());
        // One error at least for each line of the source that has a statement.
        for (i, (statement, phrase)) in statements.iter().enumerate() {
            let line = format!("refused.rs:{}:", i + 3);
            let own: Vec<&str> = text.split("\nerror").filter(|error| error.contains(&line)).collect();
            assert!(own.iter().any(|error| error.contains(phrase)), "{statement}\n{}", own.join("\nerror"));
        }
    }
}

#[test]
fn fifty_pieces_are_tried() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/wengert/guide.md");
    let pieces = fs::read_to_string(guide).unwrap().matches("\n```\n").count() / 2;
    assert!(pieces + BY_TYPES.len() + BY_LIFETIMES.len() >= 50, "{pieces} pieces");
}
