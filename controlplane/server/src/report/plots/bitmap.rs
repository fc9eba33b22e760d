//! A scene as PNG, drawn by plotters at twice the sheet's size so that it stays sharp in print.

use anyhow::{Context, anyhow};
use plotters::prelude::*;
use plotters::style::FontStyle;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::scene::{Anchor, FONT, HEIGHT, LINE_HEIGHT, Paint, Scene, Shape, WIDTH, fonts};
use super::svg::outline;

const SCALE: f64 = 2.0;
/// On and off, in pixels of the sheet.
const DASH: (f64, f64) = (5.0, 4.0);

pub(crate) fn write(scene: &Scene) -> anyhow::Result<Vec<u8>> {
    fonts();
    let size = ((WIDTH * SCALE) as u32, (HEIGHT * SCALE) as u32);
    let mut pixels = vec![0xFF; size.0 as usize * size.1 as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        for shape in &scene.shapes {
            // The drawing area's error borrows the buffer; its text is all that is needed.
            draw(&area, shape).map_err(|error| anyhow!("drawing {}: {error}", scene.title))?;
        }
        area.present().map_err(|error| anyhow!("drawing {}: {error}", scene.title))?;
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.0, size.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Default);
    encoder.set_filter(png::FilterType::Up);
    encoder.add_text_chunk("Title".to_owned(), latin(&scene.title)).context("naming the PNG")?;
    let mut writer = encoder.write_header().context("beginning the PNG")?;
    writer.write_image_data(&pixels).context("writing the PNG")?;
    writer.finish().context("ending the PNG")?;
    Ok(bytes)
}

/// PNG's plain text chunk knows Latin-1 only.
fn latin(text: &str) -> String {
    text.chars().map(|letter| if letter.is_ascii() { letter } else { '-' }).collect()
}

type Sheet<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>>;

fn draw<'a>(area: &Sheet<'a>, shape: &Shape) -> Drawn<'a> {
    match shape {
        // The sheet is white from the start.
        Shape::Rect { paint: Paint::Paper, .. } => Ok(()),
        Shape::Rect { x, y, width, height, paint, opacity } => {
            let (from, to) = (point(*x, *y), point(x + width, y + height));
            area.draw(&Rectangle::new([from, to], color(*paint).mix(*opacity).filled()))
        }
        Shape::Line { points, paint, width, dashed } => {
            let style = color(*paint).stroke_width((width * SCALE).round().max(1.0) as u32);
            if *dashed {
                return points.windows(2).flat_map(|ends| dashes(ends[0], ends[1])).try_for_each(|(from, to)| {
                    area.draw(&PathElement::new(vec![point(from.0, from.1), point(to.0, to.1)], style))
                });
            }
            area.draw(&PathElement::new(points.iter().map(|(x, y)| point(*x, *y)).collect::<Vec<_>>(), style))
        }
        Shape::Mark { x, y, radius, paint } => match outline(*x, *y, *radius, *paint) {
            None => area.draw(&Circle::new(point(*x, *y), (radius * SCALE) as i32, color(*paint).filled())),
            Some(corners) => {
                area.draw(&Polygon::new(corners.iter().map(|(x, y)| point(*x, *y)).collect::<Vec<_>>(), color(*paint).filled()))
            }
        },
        Shape::Text { x, y, size, bold, anchor, paint, text } => {
            let pixels = size * SCALE * LINE_HEIGHT;
            let style = if *bold { FontStyle::Bold } else { FontStyle::Normal };
            let horizontal = match anchor {
                Anchor::Start => HPos::Left,
                Anchor::Middle => HPos::Center,
                Anchor::End => HPos::Right,
            };
            let ink = color(*paint);
            let style = TextStyle::from((FontFamily::Name(FONT), pixels, style).into_font())
                .color(&ink)
                .pos(Pos::new(horizontal, VPos::Top));
            // plotters' ab_glyph back-end sets the baseline half a line below the top.
            let (left, baseline) = point(*x, *y);
            area.draw_text(text, &style, (left, baseline - (pixels / 2.0) as i32))
        }
    }
}

fn point(x: f64, y: f64) -> (i32, i32) {
    ((x * SCALE).round() as i32, (y * SCALE).round() as i32)
}

fn color(paint: Paint) -> RGBColor {
    let (red, green, blue) = paint.rgb();
    RGBColor(red, green, blue)
}

fn dashes(from: (f64, f64), to: (f64, f64)) -> Vec<((f64, f64), (f64, f64))> {
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    let at = |along: f64| (from.0 + (to.0 - from.0) * along / length, from.1 + (to.1 - from.1) * along / length);
    let mut pieces = Vec::new();
    let mut along = 0.0;
    while along < length {
        pieces.push((at(along), at((along + DASH.0).min(length))));
        along += DASH.0 + DASH.1;
    }
    pieces
}
