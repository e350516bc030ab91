//! Texts in several languages, read in one language (`domain-api.md` §4.4).

use http::Method;

use crate::{Api, HAMMER, below_root, names};

async fn read(api: &mut Api, url: &str, language: &'static str) -> Vec<String> {
    let answer = api.send(Method::GET, url, "", &[("accept-language", language)]).await;
    names(&answer.rows(), "Code")
}

/// The documented system's own example is `General_Products_Products?$top=10&$orderby=Name`.
#[tokio::test]
async fn names_are_ordered_in_the_readers_language() {
    let mut api = Api::new().await;
    let units = "General_MeasurementUnits?$select=Code&$orderby=Name";
    for (url, language, expected) in [
        (units.to_owned(), "en", ["box", "kg", "l", "m", "pcs"]),
        (units.to_owned(), "de-AT,en;q=0.5", ["kg", "l", "m", "box", "pcs"]),
        (units.to_owned(), "bg", ["pcs", "kg", "box", "l", "m"]),
        (units.to_owned(), "fr", ["box", "kg", "l", "m", "pcs"]),
        (format!("{units}&culture=bg-BG"), "de", ["pcs", "kg", "box", "l", "m"]),
        (format!("{units}&lang=de"), "bg", ["kg", "l", "m", "box", "pcs"]),
        (format!("{units} desc"), "bg", ["m", "l", "box", "kg", "pcs"]),
    ] {
        assert_eq!(read(&mut api, &url, language).await, expected, "{url} {language}");
    }
    let products = api.get("General_Products_Products?$top=10&$orderby=Name").await;
    let shown: Vec<_> = products.rows().iter().map(|row| row["Name"]["EN"].as_str().map(str::to_lowercase)).collect();
    assert!(shown.len() == 10 && shown.is_sorted(), "{shown:?}");
    let through = api.get("Crm_Customers?$top=3&$select=DisplayText&$orderby=Party/PartyName desc").await;
    let shown = names(&through.rows(), "DisplayText");
    assert!(shown.iter().rev().is_sorted() && shown[0].starts_with("Zephyr"), "{shown:?}");
}

#[tokio::test]
async fn an_entity_is_shown_in_the_readers_language() {
    let mut api = Api::new().await;
    let url = format!("{HAMMER}?$select=DisplayText");
    for (language, shown) in [("en", "Hammer"), ("bg", "Чук"), ("fr", "Hammer")] {
        let answer = api.send(Method::GET, &url, "", &[("accept-language", language)]).await;
        assert_eq!(answer.json()["DisplayText"], shown, "{language}");
    }
    assert_eq!(api.get(&format!("{url}&culture=bg")).await.json()["DisplayText"], "Чук");
}

/// Each row occurs once, even if another reader with another language follows the links.
#[tokio::test]
async fn pages_in_a_languages_order_lead_through_every_row_once() {
    let mut api = Api::new().await;
    let mut url = "General_Products_Products?$select=PartNumber&$orderby=Name desc&$top=50".to_owned();
    let (mut numbers, mut languages) = (Vec::new(), ["bg", "de", "en"].into_iter().cycle());
    loop {
        let headers = [("accept-language", languages.next().expect("without end"))];
        let page = api.send(Method::GET, &url, "", &headers).await;
        numbers.extend(names(&page.rows(), "PartNumber"));
        match page.json().get("@odata.nextLink") {
            Some(next) => url = below_root(next),
            None => break,
        }
    }
    let whole = api.get("General_Products_Products?$select=PartNumber&$orderby=Name desc&culture=bg").await;
    assert_eq!(numbers, names(&whole.rows(), "PartNumber"));
    assert_eq!(numbers.len(), 240);
    assert!(url.contains("culture=BG"), "{url}");
}
