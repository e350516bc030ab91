//! `/manage/settings`: the settings of the instance that administrators may change.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::admin::AdminRefusal;
use http::HeaderMap;
use oauth::params::Params;
use serde_json::{Map, Value};

use crate::admin_ui::{AdminPage, PageResult, done, is_checked, lines, overtaken, refused, said, version};
use crate::pages::admin::{AdminSection, FormField, FormNotice, PageContent, PageForm, PagePart};

const HERE: AdminSection = AdminSection::Settings;

/// The type of a setting's value.
#[derive(Clone, Copy)]
enum SettingKind {
    Flag,
    Number,
    Text,
    Lines,
    One(&'static [&'static str]),
}

/// Name, label, hint.
type Entry = (&'static str, SettingKind, &'static str, &'static str);

const ALGORITHMS: SettingKind = SettingKind::One(&["ES256", "RS256", "PS256", "EdDSA"]);

/// All settings, in page order.
const ENTRIES: [Entry; 21] = [
    ("seats", SettingKind::Number, "Licence seats", "Leave empty for no limit."),
    ("reserved_seats", SettingKind::Lines, "Reserved seats", "Logins with a guaranteed seat, one per line."),
    (
        "seats_per_user",
        SettingKind::Number,
        "Maximum seats per user",
        "Includes reserved seats and services acting as the user. Leave empty for no limit.",
    ),
    (
        "seats_per_application",
        SettingKind::Number,
        "Maximum seats per application",
        "A session counts towards the application that opened it. Leave empty for no limit.",
    ),
    ("after_logout", SettingKind::One(&["refuse", "reactivate"]), "Access tokens after sign-out", ""),
    ("access_token_seconds", SettingKind::Number, "Access token lifetime (seconds)", ""),
    ("access_token_algorithm", ALGORITHMS, "Access token signing algorithm", ""),
    ("id_token_algorithm", ALGORITHMS, "ID token signing algorithm", ""),
    ("scope_as_string", SettingKind::Flag, "Scope as a string", "As in RFC 9068, instead of an array"),
    ("service_token_sub", SettingKind::Flag, "Include sub in service tokens", "As in RFC 9068"),
    ("session_seconds", SettingKind::Number, "Sign-in lifetime (seconds)", ""),
    ("session_idle_seconds", SettingKind::Number, "Sign-in idle timeout (seconds)", ""),
    (
        "free_failures_per_account",
        SettingKind::Number,
        "Failed sign-ins per account before delay",
        "Within ten minutes.",
    ),
    (
        "free_failures_per_address",
        SettingKind::Number,
        "Failed sign-ins per address before delay",
        "Within ten minutes.",
    ),
    ("reference_tokens_must_expire", SettingKind::Flag, "Reference tokens must expire", "Applies to new tokens"),
    ("legacy_schemes", SettingKind::Flag, "Basic and ErpLogin", "For applications that allow them"),
    (
        "default_legacy_application",
        SettingKind::Text,
        "Default application for legacy clients",
        "ApplicationUri used when a client names none.",
    ),
    (
        "legacy_sunset",
        SettingKind::Text,
        "Disable Basic and ErpLogin from",
        "Date, for example 2027-01-31. Leave empty for no date.",
    ),
    ("audit_retention_days", SettingKind::Number, "Audit retention (days)", "Leave empty to keep it forever."),
    ("refusals_retention_days", SettingKind::Number, "Retention of the refusals chain (days)", ""),
    (
        "refusals_max_mib",
        SettingKind::Number,
        "Maximum size of the refusals chain (MiB)",
        "The oldest events are deleted first.",
    ),
];

pub(super) async fn show(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let answer = page(&mut admin, None, said(query.as_deref())).await;
    admin.answer(answer)
}

/// The page. After a refused form, it shows the submitted values.
async fn page(admin: &mut AdminPage, entered: Option<&Map<String, Value>>, said: FormNotice) -> PageResult {
    let (service, _) = admin.open();
    let current = service.settings_as_read().await?;
    let mut values = serde_json::to_value(&current.settings).expect("settings are strings and numbers");
    for (name, value) in entered.into_iter().flatten() {
        values[name] = value.clone();
    }
    let form = PageForm {
        to: HERE.path().to_owned(),
        is_question: false,
        hidden: vec![("version", current.version.to_string())],
        fields: ENTRIES.iter().map(|entry| field(entry, &values[entry.0])).collect(),
        button: "Save",
        is_grave: false,
        is_checked: false,
    };
    let told = "These settings are invalid. The most restrictive value applies until they are corrected:";
    let mut parts = super::repairs(&current.problems, told);
    parts.push(PagePart::Form(form));
    let content = PageContent {
        name: "manage-settings",
        title: "Settings".to_owned(),
        lead: "Settings of this instance. Changes take effect on every node within a second.".to_owned(),
        is_live: false,
        links: vec![],
        parts,
    };
    Ok(admin.page(HERE, content, said))
}

fn field(&(name, kind, label, hint): &Entry, value: &Value) -> FormField {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match kind {
        SettingKind::Flag => FormField::check(name, label, hint, value.as_bool().unwrap_or_default()),
        SettingKind::Number | SettingKind::Text => FormField::line(name, label, hint, text),
        SettingKind::Lines => {
            let lines: Vec<String> =
                value.as_array().into_iter().flatten().filter_map(|line| line.as_str().map(str::to_owned)).collect();
            FormField::lines(name, label, hint, &lines)
        }
        SettingKind::One(options) => {
            let options = options.iter().map(|option| ((*option).to_owned(), (*option).to_owned()));
            FormField::choice(name, label, options, text)
        }
    }
}

/// The submitted values as settings JSON. An empty field means the default.
fn entered(form: &Params) -> Map<String, Value> {
    let value = |&(name, kind, ..): &Entry| {
        let text = form.get(name).map(str::trim).filter(|text| !text.is_empty());
        match kind {
            SettingKind::Flag => is_checked(form, name).into(),
            SettingKind::Lines => lines(form, name).into(),
            // Text that is not a number is passed on, so that the refusal can quote it.
            SettingKind::Number => {
                text.map_or(Value::Null, |text| text.parse::<u64>().map_or_else(|_| text.into(), Value::from))
            }
            SettingKind::Text | SettingKind::One(_) => text.map_or(Value::Null, Value::from),
        }
    };
    ENTRIES.iter().map(|entry| (entry.0.to_owned(), value(entry))).collect()
}

pub(super) async fn change(mut admin: AdminPage, headers: HeaderMap, body: Body) -> Response {
    let form = match admin.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let answer = changed(&mut admin, &form).await;
    admin.answer(answer)
}

async fn changed(admin: &mut AdminPage, form: &Params) -> PageResult {
    let (service, mut moment) = admin.elevate()?;
    let current = service.settings_as_read().await?;
    if version(form) != Some(current.version) {
        return page(admin, None, overtaken()).await;
    }
    let entered = entered(form);
    match service.change_settings(&current, entered.clone(), &mut moment).await? {
        Ok(_) => Ok(done(HERE.path())),
        Err(AdminRefusal::Overtaken) => page(admin, None, overtaken()).await,
        Err(refusal) => page(admin, Some(&entered), refused(refusal)).await,
    }
}

#[cfg(test)]
mod tests {
    use model::InstanceSettings;

    use super::*;

    #[test]
    fn the_page_has_every_setting() {
        let settings = serde_json::to_value(InstanceSettings::default()).expect("settings are strings and numbers");
        let mut known: Vec<&str> = settings.as_object().expect("a structure").keys().map(String::as_str).collect();
        let mut shown: Vec<&str> = ENTRIES.iter().map(|entry| entry.0).collect();
        known.sort_unstable();
        shown.sort_unstable();
        assert_eq!(shown, known);
    }

    #[test]
    fn what_a_page_shows_comes_back_as_it_was() {
        let settings = InstanceSettings::default();
        let values = serde_json::to_value(&settings).expect("settings are strings and numbers");
        let mut form = form_urlencoded::Serializer::new(String::new());
        for entry in &ENTRIES {
            let field = field(entry, &values[entry.0]);
            if !matches!(field.input, crate::pages::admin::FieldInput::Check(false)) {
                form.append_pair(field.name, &field.value);
            }
        }
        let form = Params::parse(form.finish().as_bytes()).expect("it is readable");
        let again = settings.patched(entered(&form)).expect("good settings");
        assert_eq!(serde_json::to_value(again).expect("settings are strings and numbers"), values);
    }
}
