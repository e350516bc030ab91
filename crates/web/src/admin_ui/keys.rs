//! `/manage/keys`: the signing keys. Keys rotate automatically; these pages rotate or replace them at once.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::admin::keys::{KeyState, KeyView, ReplacementView};
use http::HeaderMap;
use model::Timestamp;
use oauth::jose::Algorithm;

use crate::admin_ui::{AdminPage, PageResult, asked, at, done, refused, said};
use crate::pages::admin::{
    AdminSection, Cell, FormNotice, ListRow, PageContent, PageForm, PageLink, PageList, PagePart,
};
use crate::pages::profile::DisplayTime;

const HERE: AdminSection = AdminSection::Keys;

/// All keys; with `replace=<algorithm>`, also the consequences of an emergency replacement.
pub(super) async fn show(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let asked = asked(query.as_deref());
    let answer = match asked.get("replace").map(str::parse::<Algorithm>) {
        Some(Ok(algorithm)) => preview(&mut admin, algorithm).await,
        Some(Err(_)) => Ok(admin.gone()),
        None => list(&mut admin, said(query.as_deref())).await,
    };
    admin.answer(answer)
}

async fn list(admin: &mut AdminPage, said: FormNotice) -> PageResult {
    let (service, moment) = admin.open();
    let now = moment.now;
    let keys = service.keys(now).await?;
    let mut algorithms: Vec<Algorithm> = Vec::new();
    for key in &keys {
        if !algorithms.contains(&key.times.algorithm) {
            algorithms.push(key.times.algorithm);
        }
    }
    let list = PageList {
        caption: "Signing keys, oldest first",
        columns: vec!["Algorithm", "Key id", "State", "Signs from", "Age", "Until"],
        rows: keys.iter().map(|key| line(key, now)).collect(),
        empty: "No signing keys.",
        next: None,
        to: String::new(),
    };
    let mut parts = vec![PagePart::List(list)];
    for algorithm in &algorithms {
        parts.push(PagePart::Form(act(
            "rotate",
            *algorithm,
            match algorithm {
                Algorithm::Es256 => "Rotate ES256 now",
                Algorithm::Rs256 => "Rotate RS256 now",
                Algorithm::Ps256 => "Rotate PS256 now",
                Algorithm::EdDsa => "Rotate EdDSA now",
            },
            false,
        )));
    }
    parts.push(PagePart::Text(
        "Rotation does not invalidate any token. The new key is published immediately and starts signing after clients have refreshed their copy of the key set."
            .to_owned(),
    ));
    let replace = |algorithm: &Algorithm| {
        let name = algorithm.as_str();
        PageLink::new(at(HERE.path(), &[("replace", name)]), format!("Replace compromised {name} keys"))
    };
    let content = PageContent {
        name: "manage-keys",
        title: "Signing keys".to_owned(),
        lead: "Keys rotate automatically every 90 days.".to_owned(),
        is_live: false,
        links: algorithms.iter().map(replace).collect(),
        parts,
    };
    Ok(admin.page(HERE, content, said))
}

fn act(does: &str, algorithm: Algorithm, button: &'static str, is_grave: bool) -> PageForm {
    PageForm {
        to: HERE.path().to_owned(),
        is_question: false,
        hidden: vec![("do", does.to_owned()), ("algorithm", algorithm.as_str().to_owned())],
        fields: vec![],
        button,
        is_grave,
        is_checked: false,
    }
}

fn line(key: &KeyView, now: Timestamp) -> ListRow {
    let days = now.since(key.times.signs_from).as_secs() / 86_400;
    ListRow {
        cells: vec![
            Cell::text(key.times.algorithm.as_str()),
            Cell::code(&key.times.kid),
            Cell::text(KeyState::as_str(key.state)),
            Cell::time(DisplayTime(key.times.signs_from)),
            Cell::text(if key.times.signs_from > now { "–".to_owned() } else { format!("{days} days") }),
            Cell::time(DisplayTime(key.until)),
        ],
        button: None,
    }
}

async fn preview(admin: &mut AdminPage, algorithm: Algorithm) -> PageResult {
    let manager = admin.manager.clone();
    let (service, _) = admin.open();
    let view = match service.preview_replacement(manager.master(), algorithm).await? {
        Ok(view) => view,
        Err(refusal) => return list(admin, refused(refusal)).await,
    };
    let ReplacementView { removed, access_tokens_of, id_tokens_of, live_sessions, .. } = view;
    let all = |names: Vec<String>| Cell::code(if names.is_empty() { "none".to_owned() } else { names.join(" ") });
    let content = PageContent {
        name: "manage-key-replacement",
        title: format!("Replace the {} keys now?", algorithm.as_str()),
        lead: "Use this if a key may be compromised. A new key signs immediately, and every token signed by the old keys becomes invalid."
            .to_owned(),
        is_live: false,
        links: vec![PageLink::new(HERE.path(), "Cancel")],
        parts: vec![
            PagePart::Facts(vec![
                ("Keys to be removed", all(removed)),
                ("Access tokens become invalid for", all(access_tokens_of)),
                ("ID tokens no longer accepted for sign-out for", all(id_tokens_of)),
                ("Live API sessions", Cell::text(live_sessions.to_string())),
            ]),
            PagePart::Form(act("replace", algorithm, "Replace keys", true)),
        ],
    };
    Ok(admin.page(HERE, content, FormNotice::Nothing))
}

pub(super) async fn change(mut admin: AdminPage, headers: HeaderMap, body: Body) -> Response {
    let form = match admin.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let answer = match form.get("algorithm").map(str::parse::<Algorithm>) {
        Some(Ok(algorithm)) => changed(&mut admin, form.get("do"), algorithm).await,
        _ => Ok(admin.gone()),
    };
    admin.answer(answer)
}

async fn changed(admin: &mut AdminPage, does: Option<&str>, algorithm: Algorithm) -> PageResult {
    let manager = admin.manager.clone();
    let (service, mut moment) = admin.elevate()?;
    let made = match does {
        Some("rotate") => service.rotate_key(manager.master(), algorithm, &mut moment).await?,
        Some("replace") => service.replace_keys(manager.master(), algorithm, &mut moment).await?,
        _ => return Ok(admin.gone()),
    };
    match made {
        Ok(_) => Ok(done(HERE.path())),
        Err(refusal) => list(admin, refused(refusal)).await,
    }
}
