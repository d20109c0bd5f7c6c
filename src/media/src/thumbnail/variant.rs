//! Which thumbnails there can be. [Thumbnails](https://spec.matrix.org/v1.19/client-server-api/#thumbnails).

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Whether the picture is cut to the shape asked for; else it keeps its own.
    pub crop: bool,
}

/// The sizes that the specification names, and some more: sizes asked for are rounded up to them, so that few are made, whatever is
/// asked for.
const SCALED: [(u32, u32); 4] = [(320, 240), (640, 480), (800, 600), (1200, 1200)];
/// The longer side of what is cut to a shape.
const CROPPED: [u32; 4] = [32, 96, 320, 800];
/// So many lengths the shorter side may have.
const SHAPES: u32 = 4;
/// The longest side of a thumbnail, in pixels.
pub(crate) const MAX_SIDE: u32 = 1600;

/// How many thumbnails of one picture there can be.
#[cfg(test)]
const ALL: usize = SCALED.len() + 1 + (CROPPED.len() + 1) * (2 * SHAPES as usize - 1);

/// A thumbnail that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variant {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) crop: bool,
}

impl Variant {
    /// The one to make; `None` where one side is nothing.
    pub(crate) fn of(wanted: Wanted) -> Option<Self> {
        let Wanted { width, height, crop } = wanted;
        if width == 0 || height == 0 {
            return None;
        }
        let (width, height) = if crop {
            cropped(width, height)
        } else {
            let fits = |(w, h): &&(u32, u32)| width <= *w && height <= *h;
            SCALED.iter().find(fits).copied().unwrap_or((MAX_SIDE, MAX_SIDE))
        };
        Some(Self { width, height, crop })
    }

    /// Its name in keys.
    pub(crate) fn name(self) -> String {
        format!("{}-{}x{}", if self.crop { "crop" } else { "scale" }, self.width, self.height)
    }

    /// The size of the whole picture before anything is cut off, and of the thumbnail; `None` where the picture is no larger than
    /// asked for. Nothing is ever made larger.
    pub(crate) fn sizes(self, width: u32, height: u32) -> Option<Sizes> {
        let (w, h) = (f64::from(self.width) / f64::from(width), f64::from(self.height) / f64::from(height));
        let scaled = |by: f64| (side(width, by), side(height, by));
        if self.crop {
            // Where the picture is smaller on one side, its shape counts and not the size.
            let by = w.max(h).min(1.0);
            let shrink = (1.0 / w.max(h)).min(1.0);
            let cut = (side(self.width, shrink), side(self.height, shrink));
            let whole = scaled(by);
            let cut = (cut.0.min(whole.0), cut.1.min(whole.1));
            (cut != (width, height)).then_some(Sizes { whole, cut })
        } else {
            let by = w.min(h);
            (by < 1.0).then(|| Sizes { whole: scaled(by), cut: scaled(by) })
        }
    }
}

/// See [`Variant::sizes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    pub(crate) whole: (u32, u32),
    pub(crate) cut: (u32, u32),
}

fn side(length: u32, by: f64) -> u32 {
    // A float's cast saturates.
    ((f64::from(length) * by).round() as u32).max(1)
}

/// About the same shape: the longer side of a length that is made, the shorter one so many fourths of it.
fn cropped(width: u32, height: u32) -> (u32, u32) {
    let (long, short) = (width.max(height), width.min(height));
    let made = CROPPED.iter().copied().find(|side| long <= *side).unwrap_or(MAX_SIDE);
    let fourths = (u64::from(short) * u64::from(SHAPES)).div_ceil(u64::from(long.max(1)));
    let other = made / SHAPES * u32::try_from(fourths).unwrap_or(SHAPES);
    if width >= height { (made, other) } else { (other, made) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variant(width: u32, height: u32, crop: bool) -> (u32, u32) {
        let variant = Variant::of(Wanted { width, height, crop }).unwrap();
        (variant.width, variant.height)
    }

    #[test]
    fn sizes_are_rounded_up_to_those_of_the_specification() {
        assert_eq!(variant(32, 32, false), (320, 240));
        assert_eq!(variant(320, 241, false), (640, 480));
        assert_eq!(variant(800, 600, false), (800, 600));
        assert_eq!(variant(801, 600, false), (1200, 1200));
        assert_eq!(variant(u32::MAX, 1, false), (MAX_SIDE, MAX_SIDE));
        assert_eq!(variant(1, 1, true), (32, 32));
        assert_eq!(variant(33, 33, true), (96, 96));
        assert_eq!(variant(33, 32, true), (96, 96));
        assert_eq!(variant(40, 80, true), (48, 96));
        assert_eq!(variant(160, 90, true), (320, 240));
        assert_eq!(variant(u32::MAX, u32::MAX, true), (MAX_SIDE, MAX_SIDE));
        assert_eq!(variant(u32::MAX, 1, true), (MAX_SIDE, MAX_SIDE / 4));
        assert_eq!(Variant::of(Wanted { width: 0, height: 5, crop: true }), None);
    }

    #[test]
    fn there_are_few_and_none_is_smaller_than_asked_for() {
        let mut made = std::collections::BTreeSet::new();
        for (width, height) in (1..1600).step_by(7).flat_map(|w| (1..1600).step_by(7).map(move |h| (w, h))) {
            for crop in [true, false] {
                let (w, h) = variant(width, height, crop);
                assert!(w >= width && h >= height, "{width}x{height}: {w}x{h}");
                made.insert((w, h, crop));
            }
        }
        assert!(made.len() <= ALL, "{}", made.len());
    }

    #[test]
    fn scaling_keeps_the_shape_and_cropping_takes_the_one_asked_for() {
        let scale = Variant { width: 320, height: 240, crop: false };
        let same = |size| Some(Sizes { whole: size, cut: size });
        assert_eq!(scale.sizes(640, 480), same((320, 240)));
        assert_eq!(scale.sizes(1000, 100), same((320, 32)));
        assert_eq!(scale.sizes(100, 1000), same((24, 240)));
        assert_eq!(scale.sizes(320, 240), None);
        assert_eq!(scale.sizes(100, 100), None);
        assert_eq!(scale.sizes(u32::MAX, 1), same((320, 1)));
        let crop = Variant { width: 96, height: 96, crop: true };
        assert_eq!(crop.sizes(200, 100), Some(Sizes { whole: (192, 96), cut: (96, 96) }));
        // Smaller on one side: square, and not larger than it is.
        assert_eq!(crop.sizes(200, 50), Some(Sizes { whole: (200, 50), cut: (50, 50) }));
        assert_eq!(crop.sizes(96, 96), None);
        assert_eq!(crop.sizes(20, 20), None);
    }
}
