//! Shared by all charts: colours of middle lightness, measures, the style of text.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Text and lines: as far from white as from the usual dark page.
pub const INK: RGBColor = RGBColor(125, 133, 144);
/// Colours of the parts of a chart, in order: orange, blue, grey.
pub const COLOURS: [RGBColor; 3] = [RGBColor(230, 97, 1), RGBColor(31, 136, 229), RGBColor(140, 140, 140)];
/// Width of every chart, in pixels.
pub const WIDTH: u32 = 960;
/// Room for the names at the side of a chart.
pub const NAMES: i32 = 210;
/// Room for the title above.
pub const TITLE: i32 = 64;

/// Text beside a point, anchored at this side of it.
pub fn ink(side: HPos) -> TextStyle<'static> {
    let font = ("sans-serif", 18).into_font().color(&INK);
    font.pos(Pos::new(side, VPos::Center))
}
