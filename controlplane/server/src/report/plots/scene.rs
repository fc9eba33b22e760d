//! A drawing as a list of shapes in pixels of a 1200-wide sheet: laid out once, then written as PNG (`super::bitmap`) and as
//! SVG (`super::svg`). Colours have meanings, so that a page can give them other values in the dark.

use std::sync::OnceLock;

use plotters::style::{FontFamily, FontStyle, IntoFont, register_font};

pub(crate) const WIDTH: f64 = 1200.0;
pub(crate) const HEIGHT: f64 = 700.0;

/// Okabe and Ito's colours, told apart with every common colour blindness; yellow left out, as it vanishes on white.
const SERIES: [(u8, u8, u8); 8] = [
    (0x00, 0x72, 0xB2),
    (0xE6, 0x9F, 0x00),
    (0x00, 0x9E, 0x73),
    (0xD5, 0x5E, 0x00),
    (0xCC, 0x79, 0xA7),
    (0x56, 0xB4, 0xE9),
    (0x5F, 0x66, 0x70),
    (0x8C, 0x56, 0x4B),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    /// Text and error bars.
    Ink,
    Muted,
    Grid,
    Paper,
    /// The backend's place in the spec.
    Series(usize),
}

impl Paint {
    pub(crate) fn rgb(self) -> (u8, u8, u8) {
        match self {
            Self::Ink => (0x1F, 0x29, 0x33),
            Self::Muted => (0x5B, 0x67, 0x75),
            Self::Grid => (0xDD, 0xE2, 0xE8),
            Self::Paper => (0xFF, 0xFF, 0xFF),
            Self::Series(place) => SERIES[place % SERIES.len()],
        }
    }

    /// The class name in SVG; a page overrides its colour in the dark.
    pub(crate) fn class(self) -> String {
        match self {
            Self::Ink => "ink".to_owned(),
            Self::Muted => "muted".to_owned(),
            Self::Grid => "grid".to_owned(),
            Self::Paper => "paper".to_owned(),
            Self::Series(place) => format!("s{}", place % SERIES.len()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Rect {
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        paint: Paint,
        opacity: f64,
    },
    Line {
        points: Vec<(f64, f64)>,
        paint: Paint,
        width: f64,
        dashed: bool,
    },
    /// A filled mark of a series: circle, square, triangle, diamond by the series' place, so that colour is not all.
    Mark {
        x: f64,
        y: f64,
        radius: f64,
        paint: Paint,
    },
    /// `y` is the baseline.
    Text {
        x: f64,
        y: f64,
        size: f64,
        bold: bool,
        anchor: Anchor,
        paint: Paint,
        text: String,
    },
}

pub(crate) struct Scene {
    pub(crate) title: String,
    pub(crate) shapes: Vec<Shape>,
}

impl Scene {
    pub(crate) fn new(title: &str) -> Self {
        let paper = Shape::Rect { x: 0.0, y: 0.0, width: WIDTH, height: HEIGHT, paint: Paint::Paper, opacity: 1.0 };
        Self { title: title.to_owned(), shapes: vec![paper] }
    }

    pub(crate) fn text(&mut self, at: (f64, f64), size: f64, anchor: Anchor, paint: Paint, text: impl Into<String>) {
        self.shapes.push(Shape::Text { x: at.0, y: at.1, size, bold: false, anchor, paint, text: text.into() });
    }

    pub(crate) fn bold(&mut self, at: (f64, f64), size: f64, anchor: Anchor, paint: Paint, text: impl Into<String>) {
        self.shapes.push(Shape::Text { x: at.0, y: at.1, size, bold: true, anchor, paint, text: text.into() });
    }

    pub(crate) fn rect(&mut self, corner: (f64, f64), size: (f64, f64), paint: Paint, opacity: f64) {
        self.shapes.push(Shape::Rect { x: corner.0, y: corner.1, width: size.0, height: size.1, paint, opacity });
    }

    pub(crate) fn line(&mut self, points: Vec<(f64, f64)>, paint: Paint, width: f64) {
        self.shapes.push(Shape::Line { points, paint, width, dashed: false });
    }

    pub(crate) fn dashed(&mut self, points: Vec<(f64, f64)>, paint: Paint, width: f64) {
        self.shapes.push(Shape::Line { points, paint, width, dashed: true });
    }

    pub(crate) fn mark(&mut self, at: (f64, f64), radius: f64, paint: Paint) {
        self.shapes.push(Shape::Mark { x: at.0, y: at.1, radius, paint });
    }
}

pub(crate) const FONT: &str = "Inter";

/// Registers the fonts once; a PNG cannot be written without them.
pub(crate) fn fonts() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let regular = include_bytes!("../../../assets/fonts/Inter-Regular.otf");
        let bold = include_bytes!("../../../assets/fonts/Inter-SemiBold.otf");
        for (style, bytes) in [(FontStyle::Normal, regular.as_slice()), (FontStyle::Bold, bold.as_slice())] {
            assert!(register_font(FONT, style, bytes).is_ok(), "the font file in assets/fonts is broken");
        }
    });
}

/// ab_glyph scales by the line height, which is 1.21 em in Inter.
pub(crate) const LINE_HEIGHT: f64 = 1.21;

/// Width in pixels at a font size in pixels.
pub(crate) fn text_width(text: &str, size: f64, bold: bool) -> f64 {
    fonts();
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = (FontFamily::Name(FONT), 100.0 * LINE_HEIGHT, style).into_font();
    font.layout_box(text).map_or(text.chars().count() as f64 * size * 0.6, |(_, (width, _))| f64::from(width) * size / 100.0)
}

/// As much of the text as fits, its middle left out: the ends of variant names tell them apart.
pub(crate) fn fitted(text: &str, size: f64, most: f64) -> String {
    if text_width(text, size, false) <= most {
        return text.to_owned();
    }
    let letters: Vec<char> = text.chars().collect();
    for kept in (2..letters.len()).rev() {
        let (head, tail) = (kept.div_ceil(2), kept / 2);
        let short: String = letters[..head].iter().chain(&['…']).chain(&letters[letters.len() - tail..]).collect();
        if text_width(&short, size, false) <= most {
            return short;
        }
    }
    "…".to_owned()
}
