//! Curves over time as SVG, one panel for each.

use std::fmt::Write;

/// The size of a panel, and the space around its curve, in pixels.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 110.0;
const LEFT: f64 = 70.0;
const TOP: f64 = 24.0;

/// More points than this would not be seen.
const MAX_POINTS: usize = 800;

/// A curve.
pub struct Line {
    /// Its sentence.
    pub name: &'static str,
    /// Seconds and values.
    pub points: Vec<(f64, f64)>,
}

/// Draws the curves below each other. The value axis begins at 0, so a slope is not exaggerated.
pub fn plot(lines: &[Line]) -> String {
    let (width, height) = (LEFT + WIDTH + 20.0, lines.len() as f64 * (HEIGHT + TOP + 10.0) + 10.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, line) in lines.iter().enumerate() {
        panel(&mut svg, line, n as f64 * (HEIGHT + TOP + 10.0) + TOP);
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, line: &Line, top: f64) {
    let most = |of: fn(&(f64, f64)) -> f64| line.points.iter().map(of).fold(1.0, f64::max);
    let (last, highest) = (most(|point| point.0), most(|point| point.1) * 1.1);
    let (x, y) = (|seconds: f64| LEFT + seconds / last * WIDTH, |value: f64| top + HEIGHT * (1.0 - value / highest));
    let text = |svg: &mut String, x: f64, y: f64, anchor: &str, text: &str| {
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
    };
    text(svg, LEFT, top - 6.0, "start", line.name);
    text(svg, LEFT - 6.0, top + 10.0, "end", &format!("{highest:.0}"));
    text(svg, LEFT - 6.0, top + HEIGHT, "end", "0");
    text(svg, LEFT + WIDTH, top - 6.0, "end", &format!("{:.0} min", last / 60.0));
    let _ = writeln!(
        svg,
        "<rect x=\"{LEFT}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#999\"/>"
    );
    for quarter in 1..4 {
        let at = LEFT + WIDTH * f64::from(quarter) / 4.0;
        let bottom = top + HEIGHT;
        let _ = writeln!(svg, "<path d=\"M{at:.1} {top:.1}V{bottom:.1}\" stroke=\"#ddd\"/>");
    }
    let step = line.points.len().div_ceil(MAX_POINTS).max(1);
    let points: Vec<String> =
        line.points.iter().step_by(step).map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value))).collect();
    let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"#06c\"/>", points.join(" "));
}
