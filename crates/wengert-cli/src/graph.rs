//! `wengert graph`.

use std::io::Write;

use wengert::{Lowering, PASSES};
use wengert_nn::{Dataset, Recipe, Split, Trainer};

use crate::Failure;
use crate::args::{GraphArgs, GraphFormat};
use crate::run_folder::data_dir;

pub(crate) fn graph(args: &GraphArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let dir = data_dir(args.data.data.as_deref());
    let classes = args.step.recipe(None)?.classes as u32;
    let train = Split::load_by(&dir, "train", args.data.label_column(), classes, &args.data.limit.options())?;
    let recipe = args.step.recipe(Some(train.size))?;
    // Nothing is trained, so one image is enough.
    let (image, label) = train.part(0, 1);
    let one = Split { images: image.to_owned(), labels: label.to_owned(), size: train.size };
    let one = std::sync::Arc::new(one);
    let recipe = Recipe { validation: 0.0, ..recipe };
    let trainer =
        Trainer::new(&recipe, &Dataset { train: one.clone(), test: one }, 1).map_err(Failure::of_settings)?;
    let step = trainer.program(recipe.batch)?;
    for (asked, lowering) in [(args.graph, Lowering::Graph), (args.schedule, Lowering::Schedule)] {
        if asked {
            write!(out, "{}", step.lowered(lowering)?)?;
            return Ok(());
        }
    }
    if args.plan {
        write!(out, "{}\n{}", step.plan(), step.memory_report())?;
        return Ok(());
    }
    if args.machine {
        let none =
            "nothing of this step is small enough for machine code, or there is none for this processor";
        write!(out, "{}", step.machine_code().ok_or_else(|| Failure::Work(none.into()))?)?;
        return Ok(());
    }
    if args.bodies {
        for (name, body) in step.tape().bodies() {
            writeln!(out, "{name:<14} {body}")?;
        }
        return Ok(());
    }
    if args.passes {
        let mut tape = step.tape().clone();
        write!(out, "{} rows as recorded\n{}", tape.rows().len(), tape.listing(usize::MAX))?;
        for pass in &PASSES {
            tape = pass.apply(&tape);
            let kind = if pass.exact() { "exact" } else { "rounding" };
            let (name, count) = (pass.name(), tape.rows().len());
            write!(out, "\n{count} rows: {name} ({kind})\n{}", tape.listing(usize::MAX))?;
        }
        return Ok(());
    }
    match args.format {
        GraphFormat::Text => write!(out, "{}", step.tape().listing(usize::MAX))?,
        GraphFormat::Dot => write!(out, "{}", step.tape().dot())?,
    }
    Ok(())
}
