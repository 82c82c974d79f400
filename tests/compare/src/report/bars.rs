//! Charts of bars: beside one another, or stacked. The letters are large enough for a projector.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use crate::experiment::Experiment;
use crate::failure::{Failure, While};
use crate::report::numbers::number;
use crate::report::palette::{COLOURS, INK, NAMES, TITLE, WIDTH, ink};
use crate::results::Results;

/// Height of a bar, in pixels.
const BAR: i32 = 18;
/// Room between the bars of two variants.
const GAP: i32 = 8;
/// Room for the number behind the longest bar.
const NUMBER: i32 = 110;
/// Room for the name of a part.
const PART: i32 = 230;

/// A chart's content.
pub struct Bars<'a> {
    /// The heading.
    pub title: &'a str,
    /// The bars of each variant, as many as there are colours at most.
    pub parts: Vec<Part<'a>>,
    /// Whether they are parts of a sum.
    pub stacked: bool,
}

/// A bar of each variant.
pub struct Part<'a> {
    /// Its name.
    pub name: String,
    /// Where its figure is from.
    pub experiment: Experiment,
    /// The figure.
    pub figure: &'a str,
    /// The factor that the figure is multiplied by.
    pub scale: f64,
}

/// A variant, and its values.
type Row<'a> = (&'a str, Vec<f64>);
/// The area to draw on.
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

impl Bars<'_> {
    /// Returns the chart as SVG; None without figures.
    pub fn draw(&self, results: &Results) -> Result<Option<String>, Failure> {
        let rows = self.rows(results);
        let most = rows.iter().map(|(_, values)| self.length(values)).fold(0.0, f64::max);
        if most == 0.0 {
            return Ok(None);
        }
        let bars = if self.stacked { 1 } else { self.parts.len() as i32 };
        let step = bars * BAR + GAP;
        let height = TITLE + rows.len() as i32 * step + GAP;
        let scale = f64::from(WIDTH as i32 - NAMES - NUMBER) / most;
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height as u32)).into_drawing_area();
        self.draw_head(&area)?;
        for (place, (name, values)) in rows.iter().enumerate() {
            let top = TITLE + place as i32 * step;
            let middle = top + bars * BAR / 2;
            let name = Text::new((*name).to_owned(), (NAMES - 10, middle), ink(HPos::Right));
            area.draw(&name).doing(self.title)?;
            self.draw_row(&area, top, values, scale)?;
        }
        drop(area);
        Ok(Some(svg))
    }

    fn draw_head(&self, area: &Area<'_>) -> Result<(), Failure> {
        let heading = ("sans-serif", 22).into_font().color(&INK);
        let title = Text::new(self.title.to_owned(), (12, 10), heading);
        area.draw(&title).doing(self.title)?;
        for (part, (place, colour)) in self.parts.iter().zip(COLOURS.iter().enumerate()) {
            let x = NAMES + place as i32 * PART;
            let mark = Rectangle::new([(x, 40), (x + 14, 52)], colour.filled());
            area.draw(&mark).doing(self.title)?;
            let text = Text::new(part.name.clone(), (x + 22, 46), ink(HPos::Left));
            area.draw(&text).doing(self.title)?;
        }
        Ok(())
    }

    fn draw_row(&self, area: &Area<'_>, top: i32, values: &[f64], scale: f64) -> Result<(), Failure> {
        let (mut x, mut y) = (NAMES, top);
        for (value, colour) in values.iter().zip(COLOURS) {
            let end = x + (value * scale).round() as i32;
            let bar = Rectangle::new([(x, y), (end, y + BAR - 2)], colour.filled());
            area.draw(&bar).doing(self.title)?;
            if self.stacked {
                x = end;
            } else {
                self.draw_number(area, (end, y), *value)?;
                y += BAR;
            }
        }
        if self.stacked {
            self.draw_number(area, (x, y), self.length(values))?;
        }
        Ok(())
    }

    /// Writes a number behind the end of a bar.
    fn draw_number(&self, area: &Area<'_>, (x, y): (i32, i32), value: f64) -> Result<(), Failure> {
        let text = Text::new(number(value), (x + 6, y + BAR / 2), ink(HPos::Left));
        area.draw(&text).doing(self.title)
    }

    /// The variants that serve clients, which the floor does not, and that have figures.
    fn rows<'a>(&self, results: &'a Results) -> Vec<Row<'a>> {
        let served = results.variants.iter().filter(|entry| entry.name != "floor");
        let rows = served.filter_map(|entry| {
            let value = |part: &Part<'_>| results.median(&entry.name, part.experiment, part.figure);
            let values: Vec<_> = self.parts.iter().map(value).collect();
            values.iter().any(Option::is_some).then(|| {
                let scaled = self
                    .parts
                    .iter()
                    .zip(values)
                    .map(|(part, value)| part.scale * value.unwrap_or(0.0).max(0.0));
                (entry.name.as_str(), scaled.collect())
            })
        });
        rows.collect()
    }

    /// How long a variant's longest bar is.
    fn length(&self, values: &[f64]) -> f64 {
        if self.stacked { values.iter().sum() } else { values.iter().copied().fold(0.0, f64::max) }
    }
}
