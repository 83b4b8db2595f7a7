//! The house is in order: imports point upwards only, every op is registered, files stay short.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const LIBRARY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/wengert/src");

/// Modules of the tape crate by layer. A file uses its own module and those of lower layers.
const LAYERS: &[&[&str]] = &[
    &["dtype", "sort"],
    &["error"],
    &["aligned", "shape"],
    &["elements"],
    &["sizes"],
    &["tensor"],
    &["into_tensor"],
    &["bind"],
    &["kernels"],
    &["ir"],
    &["ops", "exec"],
    &["transform"],
    &["program", "value", "gradients", "check"],
    &["function", "diagnose", "branches"],
    &["lib"],
];

fn layer(module: &str) -> usize {
    LAYERS.iter().position(|l| l.contains(&module)).unwrap_or_else(|| panic!("{module} has no layer"))
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

/// What a file imports from its own crate, comments and tests aside.
fn imports(text: &str) -> BTreeSet<String> {
    let code: String = text
        .split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let after = code.split("crate::").skip(1);
    after.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn imports_point_upwards_only() {
    let root = Path::new(LIBRARY);
    let mut checked = 0;
    for path in sources(root) {
        let relative = path.strip_prefix(root).unwrap();
        let module = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let own = layer(&module);
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            // Names that `lib` re-exports belong to their modules; only modules are lower case.
            if import.starts_with(char::is_uppercase) || import == module {
                continue;
            }
            let theirs = layer(&import);
            // Layers 4 and 4′ do not know each other: ops and exec share a line here.
            let fine = theirs < own || own == theirs && own == layer("check");
            let parallel = module == "transform" && import == "exec";
            assert!(fine && !parallel, "{} imports {import}", relative.display());
            checked += 1;
        }
    }
    assert!(checked > 100, "only {checked} imports were found");
}

/// The rooms of the executor, each on the way from a tape to numbers: a file uses its own and those before it.
const ROOMS: &[&str] = &[
    "table",
    "graph",
    "code",
    "schedule",
    "place",
    "frame",
    "memory",
    "page",
    "reference",
    "plan",
    "machine",
    "cpu",
];

#[test]
fn rooms_of_the_executor_lead_one_way() {
    let root = Path::new(LIBRARY).join("exec");
    let mut checked = 0;
    for path in sources(&root) {
        let relative = path.strip_prefix(&root).unwrap();
        let room = relative.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if room == "mod" {
            continue;
        }
        let own = ROOMS.iter().position(|r| *r == room).unwrap_or_else(|| panic!("{room} has no place"));
        let text = fs::read_to_string(&path).unwrap();
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        // A file of the folder itself names its neighbours by `super`.
        let prefixes: &[&str] = if relative.iter().count() == 1 || relative.ends_with("mod.rs") {
            &["crate::exec::", "super::"]
        } else {
            &["crate::exec::", "super::super::"]
        };
        for prefix in prefixes {
            for rest in code.split(prefix).skip(1) {
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if let Some(theirs) = ROOMS.iter().position(|r| *r == name) {
                    assert!(theirs <= own, "{} uses {name}", relative.display());
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 60, "only {checked} uses were found");
}

/// The index on the page of variables has every method.
#[test]
fn the_index_has_every_method_of_a_variable() {
    let index = fs::read_to_string(Path::new(LIBRARY).join("ir/var.rs")).unwrap();
    let mut methods = 0;
    for path in sources(Path::new(LIBRARY)) {
        let text = fs::read_to_string(&path).unwrap();
        let of = |head| text.split(head).skip(1);
        for block in of("\nimpl<'t> Var<'t> {").chain(of("\nimpl Var<'_> {")) {
            let block = block.split("\n}\n").next().unwrap();
            for method in block.split("    pub fn ").skip(1) {
                let name: String = method.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let takes_self = method.split_once('(').is_some_and(|(_, rest)| rest.starts_with("self"));
                if takes_self && !name.starts_with('$') && !name.is_empty() {
                    assert!(index.contains(&format!("(Self::{name})")), "{name} of {}", path.display());
                    // Those of ops say what becomes of shapes and derivatives.
                    let docs = block.split(&format!("    pub fn {name}")).next().unwrap();
                    let docs = docs.rsplit("\n\n").next().unwrap();
                    let op = path.starts_with(Path::new(LIBRARY).join("ops"));
                    assert!(!op || docs.contains("*Shape*: "), "{name} of {}", path.display());
                    methods += 1;
                }
            }
        }
    }
    assert!(methods > 70, "{methods} methods");
}

/// Transforms match kinds, executors and the passes of their plans match forms; nobody matches both.
#[test]
fn nobody_matches_kinds_and_forms() {
    let kinds = ["Op::Elementwise", "Op::Discrete", "Op::Linear", "Op::Bilinear", "Op::Custom"];
    let root = Path::new(LIBRARY);
    let mut counts = [0, 0];
    for path in sources(root) {
        let relative = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let code: String = text.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
        let (kind, form) = (kinds.iter().any(|kind| code.contains(kind)), code.contains("Form::"));
        let transform = relative.starts_with("transform") && !relative.contains("optimise");
        assert!(!(relative.starts_with("exec") && kind), "{relative} matches kinds");
        assert!(!(transform && form), "{relative} matches forms");
        counts[0] += usize::from(transform && kind);
        counts[1] += usize::from(relative.starts_with("exec") && form);
    }
    assert!(counts[0] >= 3 && counts[1] >= 2, "{counts:?}");
}

#[test]
fn the_direction_test_sees_imports() {
    let text =
        "use crate::ops::Add;\n// crate::exec\nfn f() { crate::exec::run() }\n#[cfg(test)] crate::check";
    assert_eq!(imports(text), BTreeSet::from(["ops".to_owned(), "exec".to_owned()]));
}

#[test]
fn every_op_is_registered() {
    let registry = wengert::Registry::builtin();
    let names: BTreeSet<&str> = registry.entries().iter().map(|e| e.name).collect();
    let mut ops = 0;
    for path in sources(&Path::new(LIBRARY).join("ops")) {
        let text = fs::read_to_string(&path).unwrap();
        let kinds = ["Elementwise<1>", "Elementwise<2>", "Discrete", "Linear", "Bilinear", "Custom"];
        for kind in kinds {
            for op in text.split(&format!("impl {kind} for ")).skip(1) {
                let name = op.split_whitespace().next().unwrap();
                let line = format!("::{name}");
                let lines = fs::read_to_string(Path::new(LIBRARY).join("ops/mod.rs")).unwrap();
                let registered = lines.contains(&format!("{line})"))
                    || lines.contains(&format!("{line}>()"))
                    || lines.contains(&format!("{line}, "))
                    || lines.contains(&format!("{line}::"));
                // Functions are made by macros that name them by a variable; what holds a user's closure cannot be loaded.
                assert!(
                    registered || ["$Op", "Ruled"].contains(&name),
                    "{name} in {} is not registered",
                    path.display()
                );
                ops += 1;
            }
        }
        for op in text.split("unary! {").skip(1).chain(text.split("binary! {").skip(1)) {
            let name = op.lines().find(|l| !l.trim_start().starts_with("///") && l.contains(',')).unwrap();
            let name = name.split(", ").nth(1).unwrap();
            assert!(names.contains(name), "{name} is not registered");
            ops += 1;
        }
    }
    assert!(ops >= 35, "only {ops} ops were found");
}

/// The line of README.md that lists the ops, as the registry has them. `WRITE=1 cargo test` puts it there.
#[test]
fn readme_lists_the_ops() {
    let registry = wengert::Registry::builtin();
    let mut names: Vec<&str> = registry.entries().iter().map(|e| e.name).collect();
    names.sort_unstable();
    let due = format!("| ops | {}: `{}` |", names.len(), names.join(" "));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");
    let text = fs::read_to_string(path).unwrap();
    let found = text.lines().find(|l| l.starts_with("| ops | ")).expect("a line of ops");
    if std::env::var("WRITE").is_ok() {
        fs::write(path, text.replace(found, &due)).unwrap();
    } else {
        assert_eq!(found, due);
    }
}

#[test]
fn files_stay_short_and_unsafe_stays_home() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = sources(&root.join("crates"));
    files.extend(sources(&root.join("tests")));
    for path in files.iter().filter(|p| !p.to_string_lossy().contains("/target/")) {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().count();
        assert!(lines <= 560, "{} has {lines} lines", path.display());
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
        let dangerous =
            code.filter(|l| l.contains("unsafe {") || l.contains("unsafe fn") || l.contains("unsafe impl"));
        let home = [
            "exec/memory.rs",
            "exec/page.rs",
            "exec/cpu/pool.rs",
            "exec/cpu/slots.rs",
            "exec/cpu/interpret.rs",
            "exec/reference/rows.rs",
            "tests/all/tidy.rs",
            "tests/all/allocations.rs",
        ];
        let kernel = path.starts_with(Path::new(LIBRARY).join("kernels"));
        let allowed = kernel || home.iter().any(|h| path.ends_with(h));
        assert!(allowed || dangerous.count() == 0, "{} is unsafe", path.display());
    }
    for name in ["wengert-faer", "wengert-idx", "wengert-nn"] {
        let lib = fs::read_to_string(root.join(format!("crates/{name}/src/lib.rs"))).unwrap();
        assert!(lib.contains("#![forbid(unsafe_code)]"), "{name}");
    }
}
