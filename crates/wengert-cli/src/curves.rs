//! Pictures of trainings as SVG, for light and dark pages, with lines that are told apart without colour too.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;
use wengert_nn::Point;

use crate::Failure;

/// Stands for the colour of text and axes, which a style sheet sets for light and dark.
const INK: RGBColor = RGBColor(1, 2, 3);
/// Stands for the colour of grid lines.
const GRID: RGBColor = RGBColor(4, 5, 6);
const STYLE: &str = "<style>\
    .if{fill:#24292f}.is{stroke:#24292f}.gs{stroke:#d0d7de}\
    @media(prefers-color-scheme:dark){.if{fill:#e6edf3}.is{stroke:#e6edf3}.gs{stroke:#3d444d}}\
    text{font-family:system-ui,sans-serif}</style>";
/// Of middle lightness, and told apart by those who see red and green alike (Okabe and Ito, 2008).
pub(crate) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 140, 200),
    RGBColor(213, 110, 20),
    RGBColor(0, 150, 115),
    RGBColor(190, 110, 160),
    RGBColor(150, 140, 20),
    RGBColor(120, 120, 120),
];
/// How long dashes and gaps are, and how the lines are called.
const DASHES: [(i32, u32, &str); 6] = [
    (18, 0, ""),
    (7, 4, " (dashed)"),
    (2, 3, " (dotted)"),
    (16, 4, " (long dashes)"),
    (7, 12, " (far dashes)"),
    (3, 8, " (far dots)"),
];
const HEIGHT: u32 = 380;

/// One line of a panel.
pub(crate) struct Line {
    pub(crate) label: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// One chart.
pub(crate) struct Panel {
    pub(crate) name: &'static str,
    pub(crate) lines: Vec<Line>,
    /// Whether heights are logarithms, as of what changes by powers.
    pub(crate) logarithmic: bool,
    /// Where the names of the lines stand.
    pub(crate) labels: SeriesLabelPosition,
}

/// Accuracy and loss over epochs.
pub(crate) fn learning(points: &[Point]) -> [Panel; 2] {
    let line = |label: &str, of: fn(&Point) -> Option<f64>| Line {
        label: label.to_owned(),
        points: points.iter().filter_map(|p| Some((p.epoch, of(p)?))).collect(),
    };
    let accuracy = [
        line("train", |p| Some(p.train.accuracy)),
        line("validation", |p| Some(p.validation?.accuracy)),
        line("test", |p| Some(p.test?.accuracy)),
    ];
    let loss = [
        line("train", |p| Some(p.train.loss)),
        line("validation", |p| Some(p.validation?.loss)),
        line("test", |p| Some(p.test?.loss)),
    ];
    let panel = |name, lines: [Line; 3], labels| Panel {
        name,
        lines: lines.into_iter().filter(|line| !line.points.is_empty()).collect(),
        logarithmic: false,
        labels,
    };
    [
        panel("accuracy", accuracy, SeriesLabelPosition::LowerRight),
        panel("loss", loss, SeriesLabelPosition::UpperRight),
    ]
}

/// The panels side by side. The picture has no background, and its ink follows the reader's colour scheme.
pub(crate) fn draw(title: &str, panels: &[Panel]) -> Result<String, Failure> {
    let all = panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    if all.into_iter().any(|(x, y)| !x.is_finite() || !y.is_finite()) {
        return Err(Failure::Work("curves: expected finite numbers to draw".into()));
    }
    let mut svg = String::new();
    plot(&mut svg, title, panels).map_err(|e| Failure::Work(format!("curves: {e}")))?;
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

fn plot(svg: &mut String, title: &str, panels: &[Panel]) -> Drawn {
    let width = 450 * panels.len() as u32;
    let root = SVGBackend::with_string(svg, (width, HEIGHT)).into_drawing_area();
    let root = root.titled(title, ("sans-serif", 16).into_font().color(&INK))?;
    for (panel, area) in panels.iter().zip(root.split_evenly((1, panels.len()))) {
        draw_panel(&area, panel)?;
    }
    root.present()?;
    Ok(())
}

/// The heights that a panel shows: accuracies up to 1, losses from 0.
fn range(panel: &Panel) -> Range<f64> {
    let heights = || panel.lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    match panel.name {
        "accuracy" => ((heights().fold(1.0, f64::min) * 10.0).floor() / 10.0).min(0.9)..1.0,
        _ => 0.0..heights().fold(1e-9, f64::max) * 1.05,
    }
}

/// A number at an axis of some ten, with the digits by which they differ.
fn labelled(number: f64, range: f64) -> String {
    if range < 1e-3 {
        return format!("{number:.1e}");
    }
    let digits = (1.0 - range.log10()).ceil().clamp(0.0, 4.0) as usize;
    format!("{number:.digits$}")
}

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, panel: &Panel) -> Drawn {
    let all = || panel.lines.iter().flat_map(|line| &line.points);
    let end = all().map(|(x, _)| *x).fold(0.0, f64::max).max(1e-9);
    let mut builder = ChartBuilder::on(area);
    builder.margin(12).x_label_area_size(42).y_label_area_size(60);
    let text = ("sans-serif", 13).into_font().color(&INK);
    let epoch = |x: &f64| labelled(*x, end);
    // The two coordinate systems are of two types, and everything else is the same.
    macro_rules! chart {
        ($coordinates:expr, $label:expr) => {{
            let mut chart = builder.build_cartesian_2d(0.0..end, $coordinates)?;
            chart
                .configure_mesh()
                .x_desc("epoch")
                .y_desc(panel.name)
                .axis_style(INK)
                .bold_line_style(GRID)
                .light_line_style(TRANSPARENT)
                .label_style(text.clone())
                .axis_desc_style(text.clone())
                .x_label_formatter(&epoch)
                .y_label_formatter(&$label)
                .draw()?;
            for (n, line) in panel.lines.iter().enumerate() {
                let style = COLOURS[n % COLOURS.len()].stroke_width(2);
                let points = || line.points.iter().copied();
                let (dash, gap, what) = DASHES[n % DASHES.len()];
                // As long as a dash.
                let legend = move |(x, y): (i32, i32)| PathElement::new([(x, y), (x + dash, y)], style);
                let drawn = match gap {
                    0 => chart.draw_series(LineSeries::new(points(), style).point_size(2))?,
                    gap => {
                        // Its dashes may pass over a point, and one point alone has none.
                        chart.draw_series(points().map(|at| Circle::new(at, 2, style.filled())))?;
                        chart.draw_series(DashedLineSeries::new(points(), dash as u32, gap, style))?
                    }
                };
                drawn.label(format!("{}{what}", line.label)).legend(legend);
            }
            if panel.lines.len() > 1 {
                let mut labels = chart.configure_series_labels();
                labels.label_font(text).border_style(TRANSPARENT).position(panel.labels.clone()).draw()?;
            }
        }};
    }
    let positive = || all().map(|(_, y)| *y).filter(|y| *y > 0.0);
    let least = positive().fold(f64::INFINITY, f64::min);
    let most = positive().fold(0.0, f64::max);
    // Within a power of ten the axis would have no numbers.
    if panel.logarithmic && least.is_finite() && most > 20.0 * least {
        chart!((least * 0.8..most * 1.25).log_scale(), |y: &f64| format!("{y:.1e}"));
    } else {
        let range = range(panel);
        let most = range.end - range.start;
        chart!(range, |y: &f64| labelled(*y, most));
    }
    Ok(())
}
