//! What all charts share: colours of middle lightness, measures, the style of text.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Text and lines: as far from white as from the usual dark page.
pub const INK: RGBColor = RGBColor(125, 133, 144);
/// Colours of variants and of parts of bars, in order.
pub const COLOURS: [RGBColor; 12] = [
    RGBColor(230, 97, 1),
    RGBColor(201, 148, 30),
    RGBColor(140, 140, 140),
    RGBColor(31, 136, 229),
    RGBColor(94, 84, 214),
    RGBColor(0, 151, 167),
    RGBColor(56, 142, 60),
    RGBColor(175, 80, 190),
    RGBColor(198, 60, 80),
    RGBColor(120, 160, 60),
    RGBColor(150, 110, 90),
    RGBColor(90, 130, 140),
];
/// Width of every chart, in pixels.
pub const WIDTH: u32 = 840;
/// Room for the names at the side of a chart.
pub const NAMES: i32 = 170;
/// Room for the title above.
pub const TITLE: i32 = 64;

/// Text beside a point, anchored at this side of it.
pub fn ink(side: HPos) -> TextStyle<'static> {
    let font = ("sans-serif", 14).into_font().color(&INK);
    font.pos(Pos::new(side, VPos::Center))
}
