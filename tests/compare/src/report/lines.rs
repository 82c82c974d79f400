//! Charts of lines: a line for each variant over the sizes, both axes logarithmic.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::experiment::{Experiment, Kind};
use crate::failure::{Failure, While};
use crate::report::numbers::{number, thousands};
use crate::report::palette::{COLOURS, INK, NAMES, TITLE, WIDTH, ink};
use crate::results::Results;

/// Height of a chart, in pixels.
const HEIGHT: u32 = 420;
/// Height of a name at the side.
const NAME: i32 = 24;

/// What a chart shows.
pub struct Lines {
    /// The file.
    pub file: &'static str,
    /// The kind of experiment.
    pub kind: Kind,
    /// The figure.
    pub figure: &'static str,
    /// The heading.
    pub title: &'static str,
    /// Whether the figure is divided among the clients, and counted in thousandths of its unit.
    pub for_each: bool,
}

/// A colour, a name, and points.
type Series<'a> = (RGBColor, &'a str, Vec<(f64, f64)>);

impl Lines {
    /// The chart as SVG; None if there are no figures.
    pub fn draw(&self, results: &Results) -> Result<Option<String>, Failure> {
        let title = self.title;
        let series = self.series(results);
        let sizes = results.sizes(self.kind);
        let sizes: Vec<_> = sizes.into_iter().map(|size| size as f64).collect();
        let points = || series.iter().flat_map(|(_, _, points)| points);
        let bounds = |of: fn(&(f64, f64)) -> f64| {
            points()
                .map(of)
                .fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)))
        };
        let ((first, last), (least, most)) = (bounds(|point| point.0), bounds(|point| point.1));
        if points().next().is_none() {
            return Ok(None);
        }
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let (plot, names) = area.split_horizontally(WIDTH as i32 - NAMES);
        let mut chart = ChartBuilder::on(&plot)
            .caption(title, ("sans-serif", 17).into_font().color(&INK))
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(64)
            .build_cartesian_2d(
                (first * 0.85..last * 1.18).log_scale().with_key_points(sizes),
                (least * 0.8..most * 1.25).log_scale(),
            )
            .doing(title)?;
        let subject = if self.kind == Kind::Echo { "connections" } else { "clients" };
        chart
            .configure_mesh()
            .bold_line_style(INK.mix(0.3))
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .label_style(("sans-serif", 14).into_font().color(&INK))
            .x_label_formatter(&|size| thousands(*size as i64))
            .y_label_formatter(&|value| number(*value))
            .x_desc(subject)
            .draw()
            .doing(title)?;
        for (place, (colour, name, points)) in series.iter().enumerate() {
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
            chart.draw_series(line.point_size(3)).doing(title)?;
            let y = TITLE + place as i32 * NAME;
            let mark = Rectangle::new([(4, y - 6), (18, y + 6)], colour.filled());
            names.draw(&mark).doing(title)?;
            let text = Text::new((*name).to_owned(), (26, y), ink(HPos::Left));
            names.draw(&text).doing(title)?;
        }
        drop((chart, plot, names, area));
        Ok(Some(svg))
    }

    /// The variants that have points. A variant has the same colour in all charts.
    fn series<'a>(&self, results: &'a Results) -> Vec<Series<'a>> {
        let sizes = results.sizes(self.kind);
        let all = results.variants.iter().zip(COLOURS.iter().cycle());
        let series = all.map(|(entry, colour)| {
            let points = sizes.iter().filter_map(|size| {
                let experiment = Experiment::new(self.kind, *size);
                let value = results.median(&entry.name, experiment, self.figure)?;
                let size = *size as f64;
                let value = if self.for_each { value * 1000.0 / size } else { value };
                (value > 0.0).then_some((size, value))
            });
            (*colour, entry.name.as_str(), points.collect::<Vec<_>>())
        });
        series.filter(|(_, _, points)| !points.is_empty()).collect()
    }
}
