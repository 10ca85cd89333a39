//! Pictures of throughput as SVG: a line a place, a dot at the median, a bar over its 95 % interval.
//!
//! The SVG is embedded in pages of light and of dark ground, so text and axes take the page's colour
//! (`currentColor`) and the two series have colours that stand out on both.

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    Samples,
    text::{clean, number, shorten},
};

/// One line of a picture.
pub(crate) struct Bar<'a> {
    pub label: String,
    pub native: bool,
    pub samples: &'a Samples,
}

/// Width of a picture in its own units: narrow, so that its text stays readable on a phone.
const WIDTH: u32 = 480;
/// Height of one line and of the axis below.
const LINE: u32 = 44;
const AXIS: u32 = 34;
/// Space left and right of the axis, half of the longest tick's label.
const MARGIN: i32 = 30;
/// From this ratio of the greatest to the smallest rate on, the axis is logarithmic.
const LOG_FROM: f64 = 12.0;
/// Stands for the page's own text colour while plotters draws.
const INK: RGBColor = RGBColor(1, 2, 3);
/// At least 3:1 against white and against the dark ground of the pages.
const NATIVE: RGBColor = RGBColor(0x7a, 0x80, 0x8c);
const VOLUME: RGBColor = RGBColor(0x2b, 0x82, 0xd9);

/// The picture, with its title for those who cannot see it. Empty without bars that can be drawn.
pub(crate) fn svg(title: &str, unit: &str, bars: &[Bar<'_>]) -> String {
    sized(title, unit, bars).0
}

/// Text as SVG and HTML take it.
pub(crate) fn escape(text: &str) -> String {
    super::render::escape_html(&clean(text))
}

/// The picture with its width and height.
pub(crate) fn sized(title: &str, unit: &str, bars: &[Bar<'_>]) -> (String, (u32, u32)) {
    let drawable = |b: &&Bar<'_>| b.samples.median > 0.0 && b.samples.high.is_finite();
    let bars: Vec<&Bar<'_>> = bars.iter().filter(drawable).collect();
    let Some(range) = Range::of(&bars) else {
        return (String::new(), (0, 0));
    };
    let mut text = String::new();
    let size = (WIDTH, LINE * bars.len() as u32 + AXIS);
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&area, &range, unit, &bars).expect("drawing into a string cannot fail");
        area.present().expect("drawing into a string cannot fail");
    }
    let svg = for_the_page(&text, &describe(title, unit, &bars), size);
    (svg, size)
}

/// The span of the axis.
struct Range {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Range {
    fn of(bars: &[&Bar<'_>]) -> Option<Self> {
        let high = bars.iter().map(|b| b.samples.high).reduce(f64::max)?;
        let low = bars
            .iter()
            .map(|b| b.samples.low)
            .filter(|l| *l > 0.0)
            .reduce(f64::min)?;
        let logarithmic = high / low >= LOG_FROM;
        Some(if logarithmic {
            Range {
                low: 10f64.powf(low.log10().floor()),
                high: 10f64.powf(high.log10().ceil()),
                logarithmic,
            }
        } else {
            Range {
                low: 0.0,
                high: high * 1.06,
                logarithmic,
            }
        })
    }

    /// Where the axis has its ticks.
    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let decades = self.low.log10().round() as i32..=self.high.log10().round() as i32;
            return decades.map(|d| 10f64.powi(d)).collect();
        }
        // The round step (1, 2 or 5 of a power of ten) that gives four to eight ticks.
        let rough = self.high / 5.0;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|factor| factor * magnitude)
            .into_iter()
            .find(|step| self.high / step <= 6.0)
            .unwrap_or(rough);
        (0..)
            .map(|i| f64::from(i) * step)
            .take_while(|tick| *tick <= self.high)
            .collect()
    }

    /// How far right a rate stands, in the picture's units.
    fn x(&self, rate: f64) -> i32 {
        let span = f64::from(WIDTH as i32 - 2 * MARGIN);
        let share = if self.logarithmic {
            (rate.max(self.low) / self.low).log10() / (self.high / self.low).log10()
        } else {
            rate / self.high
        };
        MARGIN + (share.clamp(0.0, 1.0) * span).round() as i32
    }
}

type Drawn = Result<(), DrawingAreaErrorKind<<SVGBackend<'static> as DrawingBackend>::ErrorType>>;

fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    range: &Range,
    unit: &str,
    bars: &[&Bar<'_>],
) -> Drawn {
    let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let at = |size: i32, h: HPos| font(size).pos(Pos::new(h, VPos::Center));
    let bottom = (LINE * bars.len() as u32) as i32;
    for tick in range.ticks() {
        let x = range.x(tick);
        area.draw(&PathElement::new([(x, 4), (x, bottom)], INK.mix(0.16)))?;
        area.draw(&Text::new(
            number(tick),
            (x, bottom + 10),
            at(12, HPos::Center),
        ))?;
    }
    let scale = if range.logarithmic {
        format!("{unit}, logarithmic")
    } else {
        unit.to_owned()
    };
    area.draw(&Text::new(
        clean(&scale),
        (WIDTH as i32 / 2, bottom + 26),
        at(12, HPos::Center),
    ))?;
    for (index, bar) in bars.iter().enumerate() {
        let top = index as i32 * LINE as i32;
        let (label_y, y) = (top + 13, top + 31);
        let colour = if bar.native { NATIVE } else { VOLUME };
        area.draw(&Text::new(
            shorten(&clean(&bar.label), 44),
            (4, label_y),
            at(14, HPos::Left),
        ))?;
        let right = WIDTH as i32 - 4;
        area.draw(&Text::new(
            number(bar.samples.median),
            (right, label_y),
            at(14, HPos::Right),
        ))?;
        let (low, median, high) = (
            range.x(bar.samples.low),
            range.x(bar.samples.median),
            range.x(bar.samples.high),
        );
        // From zero a length means something; a logarithmic axis has no zero to start at.
        if !range.logarithmic {
            area.draw(&Rectangle::new(
                [(range.x(0.0), y - 5), (median, y + 5)],
                colour.mix(0.45).filled(),
            ))?;
        }
        area.draw(&PathElement::new(
            [(low, y), (high, y)],
            colour.stroke_width(3),
        ))?;
        for end in [low, high] {
            area.draw(&PathElement::new(
                [(end, y - 6), (end, y + 6)],
                colour.stroke_width(2),
            ))?;
        }
        area.draw(&Circle::new((median, y), 5, colour.filled()))?;
    }
    Ok(())
}

/// What the picture shows, in a sentence.
fn describe(title: &str, unit: &str, bars: &[&Bar<'_>]) -> String {
    let parts: Vec<String> = bars
        .iter()
        .map(|b| format!("{} {} {unit}", b.label, number(b.samples.median)))
        .collect();
    clean(&format!("{title}: {}", parts.join(", ")))
}

/// The SVG without a fixed size, in the page's colour, and with a text for screen readers.
fn for_the_page(svg: &str, description: &str, (width, height): (u32, u32)) -> String {
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let ink = format!("#{:02X}{:02X}{:02X}", INK.0, INK.1, INK.2);
    format!(
        "<svg viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\">{}",
        super::render::escape_html(description),
        body.replace(&ink, "currentColor").trim_end()
    )
}
