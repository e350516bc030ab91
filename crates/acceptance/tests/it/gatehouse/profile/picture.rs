//! Profile pictures: the server re-encodes each picture, so that it serves image data only.

use std::io::Cursor;

use acceptance::{Browser, HttpAnswer, TestServer};
use http::Method;
use image::{DynamicImage, ImageFormat, RgbImage};

pub(in super::super) fn file(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    let image = DynamicImage::ImageRgb8(RgbImage::from_pixel(300, 200, image::Rgb([200, 10, 10])));
    image.write_to(&mut Cursor::new(&mut bytes), format).expect("drawn in memory");
    bytes
}

pub(in super::super) async fn send(browser: &Browser, csrf: &str, parts: &[(&str, &[u8])]) -> HttpAnswer {
    let mut body = Vec::new();
    for (name, value) in [("csrf", csrf.as_bytes())].iter().chain(parts) {
        body.extend_from_slice(
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"<script>.svg\"\r\n\r\n")
                .as_bytes(),
        );
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    let cookie = browser.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let ask = browser.client.ask(&Method::POST, "/profile/picture").header("cookie", &cookie);
    ask.body("multipart/form-data; boundary=edge", body).send().await
}

async fn get(browser: &mut Browser, path: &str) -> HttpAnswer {
    let answer = browser.step(&Method::GET, path, &[]).await;
    assert_eq!(answer.header("content-security-policy"), "default-src 'none'; sandbox", "{path}");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
    answer
}

const SIZES: [(&str, u32); 3] =
    [("/profile/me/picture", 256), ("/profile/me/picture/128", 128), ("/profile/me/picture/64", 64)];

#[tokio::test]
async fn a_picture_of_each_format_is_served_drawn_anew_in_each_size() {
    let server = TestServer::open().await;
    let (mut alice, mut bob) = (server.browser("alice"), server.browser("bob"));
    alice.sign_in().await;
    bob.sign_in().await;
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP] {
        let csrf = super::csrf_of(&mut alice).await;
        let sent = send(&alice, &csrf, &[("picture", &file(format))]).await;
        assert_eq!((sent.status.as_u16(), sent.location()), (303, "/profile/picture?done"), "{}", sent.text());
        for (path, pixels) in SIZES {
            let answer = get(&mut alice, path).await;
            assert_eq!(answer.header("content-type"), "image/png");
            let drawn = image::load_from_memory_with_format(&answer.body, ImageFormat::Png).expect("PNG");
            assert_eq!((drawn.width(), drawn.height()), (pixels, pixels), "{format:?}");
        }
    }
    assert_eq!(get(&mut bob, "/profile/me/picture").await.header("content-type"), "image/svg+xml", "each their own");
    let page = alice.open("/profile/picture").await;
    assert!(page.attributes("[name=remove]", "value").contains(&"1".to_owned()));
    let csrf = super::csrf_of(&mut alice).await;
    assert_eq!(send(&alice, &csrf, &[("remove", b"1")]).await.status, 303);
    assert_eq!(get(&mut alice, "/profile/me/picture").await.header("content-type"), "image/svg+xml");
}

#[tokio::test]
async fn who_chose_none_has_initials() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    for (path, pixels) in SIZES {
        let answer = get(&mut alice, path).await;
        assert_eq!(answer.header("content-type"), "image/svg+xml");
        assert!(answer.text().contains(&format!("width=\"{pixels}\"")) && answer.text().contains("&#65;&#65;"));
        let client = alice.client.clone();
        let cookie = alice.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let ask = client.ask(&Method::GET, path).header("cookie", &cookie);
        let unchanged = ask.header("if-none-match", answer.header("etag")).send().await;
        assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
    }
}

#[tokio::test]
async fn what_is_no_picture_is_refused_and_the_old_one_stays() {
    let server = TestServer::open().await;
    let mut alice = server.browser("alice");
    alice.sign_in().await;
    let csrf = super::csrf_of(&mut alice).await;
    send(&alice, &csrf, &[("picture", &file(ImageFormat::Png))]).await;
    let before = get(&mut alice, "/profile/me/picture").await.body;
    let cut = file(ImageFormat::Jpeg);
    let cut = cut.get(..100).expect("longer than that");
    let huge = vec![0x89; 512 * 1024 + 1];
    for (bad, reason) in [
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>".as_slice(), "not a PNG"),
        (b"GIF89a", "not a PNG"),
        (b"", "not a PNG"),
        (cut, "damaged"),
        (&huge, "512 KiB"),
    ] {
        let page = send(&alice, &csrf, &[("picture", bad)]).await;
        assert_eq!(page.page(), "profile-picture");
        assert!(page.words("[role=alert]").is_some_and(|said| said.contains(reason)), "{reason}");
    }
    let page = send(&alice, &csrf, &[("picture", &vec![0; 2 * 1024 * 1024])]).await;
    assert!(page.words("[role=alert]").is_some_and(|said| said.contains("512 KiB")), "not even read");
    assert_eq!(get(&mut alice, "/profile/me/picture").await.body, before);
}

#[tokio::test]
async fn a_form_that_is_not_this_persons_changes_nothing() {
    let server = TestServer::open().await;
    let (mut alice, mut bob) = (server.browser("alice"), server.browser("bob"));
    alice.sign_in().await;
    bob.sign_in().await;
    let csrf = super::csrf_of(&mut bob).await;
    for bad in ["", "x", &csrf] {
        assert_eq!(send(&alice, bad, &[("picture", &file(ImageFormat::Png))]).await.status, 403);
    }
    let plain = alice.post("/profile/picture", &[("csrf", &csrf), ("remove", "1")]).await;
    assert_eq!(plain.status, 400, "another kind of form");
    assert_eq!(get(&mut alice, "/profile/me/picture").await.header("content-type"), "image/svg+xml");
}
