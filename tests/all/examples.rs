//! The examples of the tape crate, run to their end: what they claim they assert.

use std::fs;

macro_rules! examples {
    ($($name:ident $file:literal $main:expr;)+) => {
        $(#[allow(unreachable_pub)] // they have a `main` of their own
        #[path = $file]
        mod $name;)+
        const NAMES: &[&str] = &[$(stringify!($name)),+];

        $(#[test]
        fn $name() {
            $main
        })+
    };
}
examples! {
    custom_op "../../crates/wengert/examples/custom_op.rs" custom_op::main().unwrap();
    explore "../../crates/wengert/examples/explore.rs" explore::main().unwrap();
    gaussian_process "../../crates/wengert/examples/gaussian_process.rs" gaussian_process::main().unwrap();
    line "../../crates/wengert/examples/line.rs" line::main().unwrap();
    logistic "../../crates/wengert/examples/logistic.rs" logistic::main().unwrap();
    ode "../../crates/wengert/examples/ode.rs" ode::main().unwrap();
    optimiser "../../crates/wengert/examples/optimiser.rs" optimiser::main().unwrap();
    property "../../crates/wengert/examples/property.rs" property::main();
    rosenbrock "../../crates/wengert/examples/rosenbrock.rs" rosenbrock::main().unwrap();
    sampler "../../crates/wengert/examples/sampler.rs" sampler::main().unwrap();
}

#[test]
fn all_of_them_are_here_and_short() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/wengert/examples");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(NAMES.contains(&&*name), "{name} is not run");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() <= 80, "{name} has {} lines", text.lines().count());
        // An adapter to the traits of another library.
        let adapter = text.split("// The adapter.\n").nth(1).map(|rest| {
            let end = rest.find("\n\n/// ").unwrap_or(rest.len());
            rest[..end].lines().count()
        });
        assert!(adapter.is_none_or(|lines| lines <= 15), "{name}: an adapter of {adapter:?} lines");
    }
}
