//! Profile pictures. Uploads are decoded within limits; only the images rendered from them are stored and served.

use std::io::Cursor;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, RgbaImage, imageops};
use model::{Ctx, UserId};
use store::{Batch, CommitOutcome};

use crate::account::Account;
use crate::auth::browser_session::SignedIn;
use crate::platform::pool::{Pool, PoolKind, Priority};
use crate::{Answer, Fault};

/// Maximum upload size in bytes.
pub const LARGEST_PICTURE: usize = 512 * 1024;

/// Sizes of served pictures: the side of the square, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureSize {
    Small,
    Medium,
    Large,
}

impl PictureSize {
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    pub const fn pixels(self) -> u32 {
        match self {
            Self::Small => 64,
            Self::Medium => 128,
            Self::Large => 256,
        }
    }
}

/// A refused upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureRefusal {
    /// Larger than [`LARGEST_PICTURE`].
    TooLarge,
    /// Not PNG, JPEG or WebP, judged by the content.
    UnknownFormat,
    /// More than `MAX_PIXELS` pixels.
    TooManyPixels,
    Damaged,
    /// The sign-in has ended.
    SignedOut,
}

/// More than a camera's picture has. A small file that unpacks into more is a decompression bomb.
const MAX_PIXELS: u32 = 24_000_000;
const MAX_SIDE: u32 = 16_384;
/// Maximum memory for decoding, in bytes.
const MAX_MEMORY: u64 = 128 * 1024 * 1024;

/// Pictures that may wait, shared fairly between instances, each up to [`LARGEST_PICTURE`]. More get 503.
const MAX_WAITING: usize = 8;

/// The image decoder. One picture at a time, because each takes up to [`MAX_MEMORY`].
pub(crate) fn image_decoder() -> Pool {
    Pool::new(PoolKind {
        name: "pictures",
        threads: 1,
        max_waiting: MAX_WAITING,
        full: "too many pictures at once",
        priority: Priority::Low,
    })
}

/// A picture in each size, as PNG.
type RenderedPicture = Vec<(PictureSize, Vec<u8>)>;

impl Account<'_> {
    /// `None` if the user has no picture.
    pub async fn picture(&self, user: UserId, size: PictureSize) -> Result<Option<Vec<u8>>, Fault> {
        self.memory.store.picture(user, size.pixels()).await
    }

    pub async fn choose_picture(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        file: Vec<u8>,
    ) -> Answer<(), PictureRefusal> {
        if file.len() > LARGEST_PICTURE {
            return Ok(Err(PictureRefusal::TooLarge));
        }
        let drawn = match self.image_decoder.run(move || draw(&file)).await? {
            Ok(drawn) => drawn,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut batch = Batch::new().with(self.memory.store.touch_identity_session(browser.session.id, ctx.now));
        batch.extend(
            drawn.into_iter().map(|(size, png)| self.memory.store.put_picture(browser.user.id, size.pixels(), png)),
        );
        self.commit_picture(ctx, browser, batch, "picture").await
    }

    pub async fn remove_picture(&self, ctx: &mut Ctx<'_>, browser: &SignedIn) -> Answer<(), PictureRefusal> {
        let batch = Batch::from(vec![
            self.memory.store.touch_identity_session(browser.session.id, ctx.now),
            self.memory.store.remove_pictures(browser.user.id),
        ]);
        self.commit_picture(ctx, browser, batch, "remove-picture").await
    }

    async fn commit_picture(
        &self,
        ctx: &mut Ctx<'_>,
        browser: &SignedIn,
        mut batch: Batch,
        what: &'static str,
    ) -> Answer<(), PictureRefusal> {
        batch.push(self.profile_event(ctx, browser, &serde_json::json!({ "what": what })));
        Ok(match self.memory.store.commit(batch).await? {
            CommitOutcome::Committed => Ok(()),
            CommitOutcome::GuardFailed { .. } => Err(PictureRefusal::SignedOut),
        })
    }
}

/// Renders the centre square, upright, in all sizes. Only the pixels of the file are kept.
fn draw(file: &[u8]) -> Result<RenderedPicture, PictureRefusal> {
    let image = decode(file)?;
    let side = image.width().min(image.height());
    let (left, top) = ((image.width() - side) / 2, (image.height() - side) / 2);
    let square = image.crop_imm(left, top, side, side);
    let large =
        square.resize_exact(PictureSize::Large.pixels(), PictureSize::Large.pixels(), imageops::FilterType::Triangle);
    PictureSize::ALL
        .into_iter()
        .map(|size| {
            let pixels = size.pixels();
            let drawn = large.resize_exact(pixels, pixels, imageops::FilterType::Triangle).into_rgba8();
            Ok((size, encode(&drawn)?))
        })
        .collect()
}

fn decode(file: &[u8]) -> Result<DynamicImage, PictureRefusal> {
    let format = image::guess_format(file).map_err(|_| PictureRefusal::UnknownFormat)?;
    if !matches!(format, ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP) {
        return Err(PictureRefusal::UnknownFormat);
    }
    let mut reader = ImageReader::with_format(Cursor::new(file), format);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| refusal(&error))?;
    let (width, height) = decoder.dimensions();
    if width.checked_mul(height).is_none_or(|pixels| pixels > MAX_PIXELS) {
        return Err(PictureRefusal::TooManyPixels);
    }
    if width == 0 || height == 0 {
        return Err(PictureRefusal::Damaged);
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| refusal(&error))?;
    image.apply_orientation(orientation);
    Ok(image)
}

const fn refusal(error: &image::ImageError) -> PictureRefusal {
    match error {
        image::ImageError::Limits(_) => PictureRefusal::TooManyPixels,
        image::ImageError::Unsupported(_) => PictureRefusal::UnknownFormat,
        _ => PictureRefusal::Damaged,
    }
}

fn encode(drawn: &RgbaImage) -> Result<Vec<u8>, PictureRefusal> {
    let mut png = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive);
    drawn.write_with_encoder(encoder).map_err(|error| refusal(&error))?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
        let image = DynamicImage::ImageRgb8(image::RgbImage::from_fn(width, height, |x, _| {
            image::Rgb(if x < width / 2 { [255, 0, 0] } else { [0, 0, 255] })
        }));
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).expect("drawn in memory");
        bytes
    }

    #[test]
    fn each_format_is_drawn_anew_in_each_size() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let drawn = draw(&file(format, 300, 200)).expect("a good picture");
            assert_eq!(drawn.len(), 3);
            for (size, png) in drawn {
                let read = image::load_from_memory_with_format(&png, ImageFormat::Png).expect("PNG");
                assert_eq!((read.width(), read.height()), (size.pixels(), size.pixels()), "{format:?}");
                let colours = read.into_rgb8();
                let (left, right) = (colours.get_pixel(2, 5), colours.get_pixel(size.pixels() - 3, 5));
                assert!(left[0] > 200 && left[2] < 60 && right[2] > 200 && right[0] < 60, "the middle, unmirrored");
            }
        }
        assert!(draw(&file(ImageFormat::Png, 1, 1)).is_ok(), "however small");
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert_eq!(draw(b"").err(), Some(PictureRefusal::UnknownFormat));
        assert_eq!(draw(b"<svg xmlns='http://www.w3.org/2000/svg'/>").err(), Some(PictureRefusal::UnknownFormat));
        assert_eq!(draw(b"GIF89a\x01\x00\x01\x00").err(), Some(PictureRefusal::UnknownFormat));
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
            let whole = file(format, 64, 64);
            let head = whole.get(..20).expect("longer than that");
            assert!(draw(head).is_err(), "{format:?}: cut short");
        }
    }

    /// The dimensions are checked in the header, before anything is unpacked.
    #[test]
    fn a_small_file_that_claims_a_huge_picture_is_refused() {
        let mut png = file(ImageFormat::Png, 8, 8);
        for (width, height) in [(60_000_u32, 60_000_u32), (16_000, 16_000), (1, 60_000)] {
            png[16..20].copy_from_slice(&width.to_be_bytes());
            png[20..24].copy_from_slice(&height.to_be_bytes());
            let crc = crc32(&png[12..29]);
            png[29..33].copy_from_slice(&crc.to_be_bytes());
            assert_eq!(draw(&png).err(), Some(PictureRefusal::TooManyPixels), "{width} × {height}");
        }
    }

    /// PNG (ISO/IEC 15948) Annex D.
    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 })
        })
    }
}
