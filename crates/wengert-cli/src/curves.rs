//! The picture of a training: accuracy and loss over epochs, as SVG.

use plotters::prelude::*;

use crate::Failure;

/// One evaluation.
pub(crate) struct Point {
    pub(crate) iteration: usize,
    pub(crate) epoch: f64,
    /// The mean loss of the batches since the evaluation before.
    pub(crate) loss: f64,
    pub(crate) train_loss: f64,
    pub(crate) test_loss: f64,
    pub(crate) train_accuracy: f64,
    pub(crate) test_accuracy: f64,
    pub(crate) seconds: f64,
}

/// Stands for the colour of text and axes, which a style sheet sets for light and dark.
const INK: RGBColor = RGBColor(1, 2, 3);
/// Stands for the colour of grid lines.
const GRID: RGBColor = RGBColor(4, 5, 6);
const STYLE: &str = "<style>\
    .if{fill:#24292f}.is{stroke:#24292f}.gs{stroke:#d0d7de}\
    @media(prefers-color-scheme:dark){.if{fill:#e6edf3}.is{stroke:#e6edf3}.gs{stroke:#3d444d}}\
    text{font-family:system-ui,sans-serif}</style>";
/// Of middle lightness, and told apart by those who see red and green alike (Okabe and Ito, 2008).
const TRAIN: RGBColor = RGBColor(0, 140, 200);
const TEST: RGBColor = RGBColor(213, 110, 20);
const SIZE: (u32, u32) = (900, 380);

/// The picture. It has no background, and its ink follows the reader's colour scheme.
pub(crate) fn draw(title: &str, points: &[Point]) -> Result<String, Failure> {
    let numbers = |p: &Point| [p.epoch, p.train_loss, p.test_loss, p.train_accuracy, p.test_accuracy];
    if points.iter().flat_map(numbers).any(|x| !x.is_finite()) {
        return Err(Failure::Work("curves.svg: expected finite numbers to draw".into()));
    }
    let mut svg = String::new();
    plot(&mut svg, title, points).map_err(|e| Failure::Work(format!("curves.svg: {e}")))?;
    let mut svg = svg
        .replace("fill=\"#010203\"", "class=\"if\"")
        .replace("stroke=\"#010203\"", "class=\"is\"")
        .replace("stroke=\"#040506\"", "class=\"gs\"");
    if let Some(end) = svg.find("<svg").and_then(|start| svg[start..].find('>').map(|e| start + e + 1)) {
        svg.insert_str(end, STYLE);
    }
    Ok(svg)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn plot(svg: &mut String, title: &str, points: &[Point]) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    let root = root.titled(title, ("sans-serif", 16).into_font().color(&INK))?;
    let (left, right) = root.split_horizontally(SIZE.0 / 2);
    let lowest = points.iter().map(|p| p.train_accuracy.min(p.test_accuracy)).fold(1.0, f64::min);
    let floor = ((lowest * 10.0).floor() / 10.0).min(0.9);
    panel(&left, "accuracy", floor..1.0, points, |p| (p.train_accuracy, p.test_accuracy))?;
    let highest = points.iter().map(|p| p.train_loss.max(p.test_loss)).fold(0.1, f64::max);
    panel(&right, "loss", 0.0..highest * 1.05, points, |p| (p.train_loss, p.test_loss))?;
    root.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    name: &str,
    range: std::ops::Range<f64>,
    points: &[Point],
    values: fn(&Point) -> (f64, f64),
) -> Drawn {
    let end = points.iter().map(|p| p.epoch).fold(0.0, f64::max).max(1e-9);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, range)?;
    let text = ("sans-serif", 13).into_font().color(&INK);
    chart
        .configure_mesh()
        .x_desc("epoch")
        .y_desc(name)
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .label_style(text.clone())
        .axis_desc_style(text.clone())
        .x_label_formatter(&|x| if end < 5.0 { format!("{x:.1}") } else { format!("{x:.0}") })
        .y_label_formatter(&|y| format!("{y:.2}"))
        .draw()?;
    let series = [("train", TRAIN, 0), ("test", TEST, 1)];
    for (label, colour, which) in series {
        let value = |p: &Point| if which == 0 { values(p).0 } else { values(p).1 };
        let line = points.iter().map(|p| (p.epoch, value(p)));
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)).point_size(2))?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .label_font(text)
        .border_style(TRANSPARENT)
        .position(if name == "loss" {
            SeriesLabelPosition::UpperRight
        } else {
            SeriesLabelPosition::LowerRight
        })
        .draw()?;
    Ok(())
}
