//! A scene as SVG text. Every shape carries the light colours as attributes and its meaning as a class.

use std::fmt::Write as _;

use super::scene::{Anchor, HEIGHT, Paint, Scene, Shape, WIDTH};
use crate::report::escape::xml;

/// A whole document, also fit to stand inside an HTML page.
pub(crate) fn write(scene: &Scene) -> String {
    let title = xml(&scene.title);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
         aria-label=\"{title}\" font-family=\"Inter, 'Segoe UI', 'Helvetica Neue', 'DejaVu Sans', Arial, sans-serif\">\n<title>{title}</title>\n"
    );
    for shape in &scene.shapes {
        write_shape(&mut out, shape).expect("writing into a string cannot fail");
    }
    out.push_str("</svg>\n");
    out
}

fn write_shape(out: &mut String, shape: &Shape) -> std::fmt::Result {
    match shape {
        Shape::Rect { x, y, width, height, paint, opacity } => {
            writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" {}{}/>",
                fill(*paint),
                opaque(*opacity)
            )
        }
        Shape::Line { points, paint, width, dashed } => {
            let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let dashes = if *dashed { " stroke-dasharray=\"5 4\"" } else { "" };
            writeln!(
                out,
                "<polyline points=\"{}\" class=\"{}-line\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linejoin=\"round\"{dashes}/>",
                points.join(" "),
                paint.class(),
                hex(*paint)
            )
        }
        Shape::Mark { x, y, radius, paint } => match outline(*x, *y, *radius, *paint) {
            None => writeln!(out, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" {}/>", fill(*paint)),
            Some(points) => {
                let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
                writeln!(out, "<polygon points=\"{}\" {}/>", points.join(" "), fill(*paint))
            }
        },
        Shape::Text { x, y, size, bold, anchor, paint, text } => {
            let anchor = match anchor {
                Anchor::Start => "",
                Anchor::Middle => " text-anchor=\"middle\"",
                Anchor::End => " text-anchor=\"end\"",
            };
            let weight = if *bold { " font-weight=\"600\"" } else { "" };
            writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\"{anchor}{weight} {}>{}</text>",
                fill(*paint),
                xml(text)
            )
        }
    }
}

/// Corners of a mark; `None` is a circle.
pub(crate) fn outline(x: f64, y: f64, r: f64, paint: Paint) -> Option<Vec<(f64, f64)>> {
    let Paint::Series(place) = paint else { return None };
    match place % 4 {
        0 => None,
        1 => Some(vec![(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)]),
        2 => Some(vec![(x, y - 1.2 * r), (x + 1.2 * r, y + r), (x - 1.2 * r, y + r)]),
        _ => Some(vec![(x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y)]),
    }
}

fn fill(paint: Paint) -> String {
    format!("class=\"{}\" fill=\"{}\"", paint.class(), hex(paint))
}

fn opaque(opacity: f64) -> String {
    if opacity < 1.0 { format!(" fill-opacity=\"{opacity}\"") } else { String::new() }
}

fn hex(paint: Paint) -> String {
    let (red, green, blue) = paint.rgb();
    format!("#{red:02X}{green:02X}{blue:02X}")
}
