//! Making a picture smaller, within bounds of memory.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits,
    codecs::{jpeg::JpegEncoder, png::PngDecoder, webp::WebPDecoder},
};

use super::variant::{Sizes, Variant};
use crate::error::MediaError;

/// The quality of JPEG thumbnails, of 100.
const QUALITY: u8 = 82;
/// Bytes of a decoded pixel, at most: four channels of 16 bits.
const PIXEL: u64 = 8;

/// What came of it.
#[derive(Debug)]
pub(crate) enum Rendered {
    /// The picture itself is small enough. This is its type.
    Original(&'static str),
    /// A smaller one, and its type.
    Made(Vec<u8>, &'static str),
}

/// Whether content begins as a picture that can be made smaller.
pub(crate) fn is_picture(start: &[u8]) -> bool {
    image::guess_format(start).is_ok_and(|format| type_of(format).is_some())
}

fn type_of(format: ImageFormat) -> Option<&'static str> {
    match format {
        ImageFormat::Png => Some("image/png"),
        ImageFormat::Jpeg => Some("image/jpeg"),
        ImageFormat::Gif => Some("image/gif"),
        ImageFormat::WebP => Some("image/webp"),
        _ => None,
    }
}

/// How wide and high a picture is shown, and its type; none where it is no picture of a known kind.
pub(crate) fn measure(source: &Bytes) -> Option<(u32, u32, &'static str)> {
    let format = image::guess_format(source).ok()?;
    let content_type = type_of(format)?;
    let mut reader = ImageReader::with_format(Cursor::new(&**source), format);
    let mut limits = Limits::no_limits();
    // Nothing is decoded.
    limits.max_alloc = Some(1 << 20);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let turned = decoder.orientation().is_ok_and(|orientation| matches!(orientation.to_exif(), 5..=8));
    let (width, height) = if turned { (height, width) } else { (width, height) };
    (width > 0 && height > 0).then_some((width, height, content_type))
}

fn unreadable(error: impl std::fmt::Display) -> MediaError {
    MediaError::NoThumbnail(error.to_string())
}

/// Makes a thumbnail. Costs the memory of the decoded picture, and time: it belongs on a thread that may block.
pub(crate) fn render(source: &Bytes, variant: Variant, max_pixels: u64) -> Result<Rendered, MediaError> {
    let format = image::guess_format(source).map_err(unreadable)?;
    let content_type = type_of(format).ok_or_else(|| unreadable("it is no picture of a known kind"))?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_pixels.saturating_mul(PIXEL));
    let mut reader = ImageReader::with_format(Cursor::new(&**source), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(unreadable)?;
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        return Err(unreadable("it has no pixels"));
    }
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(MediaError::TooLarge(format!("pictures of at most {max_pixels} pixels get thumbnails")));
    }
    let orientation = decoder.orientation().map_err(unreadable)?;
    let turned = matches!(orientation.to_exif(), 5..=8);
    let (width, height) = if turned { (height, width) } else { (width, height) };
    let sizes = variant.sizes(width, height);
    // A thumbnail does not move.
    if sizes.is_none() && !moves(source, format) {
        return Ok(Rendered::Original(content_type));
    }
    let mut picture = DynamicImage::from_decoder(decoder).map_err(unreadable)?;
    if let Some(Sizes { whole, cut }) = sizes {
        let whole = if turned { (whole.1, whole.0) } else { whole };
        // The one way that needs no more memory than the result.
        picture = picture.thumbnail_exact(whole.0, whole.1);
        picture.apply_orientation(orientation);
        let (left, top) =
            ((picture.width() - cut.0.min(picture.width())) / 2, (picture.height() - cut.1.min(picture.height())) / 2);
        picture = picture.crop_imm(left, top, cut.0, cut.1);
    } else {
        picture.apply_orientation(orientation);
    }
    encode(&picture, format)
}

/// Whether a picture is made of several.
fn moves(source: &Bytes, format: ImageFormat) -> bool {
    let from = || Cursor::new(&**source);
    match format {
        // Told apart by decoding them only.
        ImageFormat::Gif => true,
        ImageFormat::Png => PngDecoder::new(from()).and_then(|decoder| decoder.is_apng()).unwrap_or(true),
        ImageFormat::WebP => WebPDecoder::new(from()).map_or(true, |decoder| decoder.has_animation()),
        _ => false,
    }
}

fn encode(picture: &DynamicImage, from: ImageFormat) -> Result<Rendered, MediaError> {
    let mut out = Vec::new();
    // Photographs stay photographs; what may be see-through or drawn stays sharp.
    if from == ImageFormat::Jpeg {
        let encoder = JpegEncoder::new_with_quality(&mut out, QUALITY);
        picture.to_rgb8().write_with_encoder(encoder).map_err(unreadable)?;
        return Ok(Rendered::Made(out, "image/jpeg"));
    }
    let picture = if picture.color().has_alpha() {
        DynamicImage::ImageRgba8(picture.to_rgba8())
    } else {
        DynamicImage::ImageRgb8(picture.to_rgb8())
    };
    picture.write_to(&mut Cursor::new(&mut out), ImageFormat::Png).map_err(unreadable)?;
    Ok(Rendered::Made(out, "image/png"))
}
