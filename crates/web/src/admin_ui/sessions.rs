//! `/manage/sessions`: the seats and the sessions that hold them.

use axum::body::Body;
use axum::extract::RawQuery;
use axum::response::Response;
use flows::admin::sessions::{SeatsView, SessionSelector};
use flows::admin::{AdminRefusal, ApiSessionRow};
use flows::memory::ApplicationRegister;
use http::HeaderMap;
use model::seat::SessionKey;
use model::{ApiSessionId, ApplicationId, Login, Timestamp};
use oauth::params::Params;

use crate::admin_ui::{AdminPage, DONE, PageResult, READ, asked, at, done, id, paged, refused};
use crate::pages::admin::{
    AdminSection, Button, Cell, Chart, FormField, FormNotice, ListRow, PageContent, PageForm, PageList, PagePart,
};
use crate::pages::profile::DisplayTime;

const HERE: AdminSection = AdminSection::Sessions;

pub(super) async fn show(mut admin: AdminPage, RawQuery(query): RawQuery) -> Response {
    let said = if query.as_deref() == Some(DONE) {
        FormNotice::Done("Sessions ended. Their seats are free.")
    } else {
        FormNotice::Nothing
    };
    let answer = board(&mut admin, &asked(query.as_deref()), said).await;
    admin.answer(answer)
}

async fn board(admin: &mut AdminPage, asked: &Params, said: FormNotice) -> PageResult {
    let (user, before) = (asked.get("user").map(str::trim), id(asked.get("before")).map(ApiSessionId));
    let (register, now) = (admin.manager.instance().applications(), admin.now());
    let (service, _) = admin.open();
    let (seats, reserved) = service.seats().await?;
    let rows = service.sessions_before(before, user, READ).await?;
    let (rows, behind) = paged(rows, |row| row.id.to_string());
    let next = behind.map(|behind| at(HERE.path(), &[("user", user.unwrap_or_default()), ("before", &behind)]));
    let list = PageList {
        caption: "Live API sessions, newest first",
        columns: vec![
            "User",
            "Applications",
            "Opened by",
            "Opened",
            "Last call",
            "Calls",
            "Address",
            "Seat",
            "Time left",
            "Action",
        ],
        rows: rows.iter().map(|row| line(row, &register, now)).collect(),
        empty: "No live sessions.",
        next,
        to: HERE.path().to_owned(),
    };
    let search = PageForm {
        to: HERE.path().to_owned(),
        is_question: true,
        hidden: vec![],
        fields: vec![FormField::line("user", "Login", "Leave empty to list all sessions.", user.unwrap_or_default())],
        button: "Show",
        is_grave: false,
        is_checked: false,
    };
    let end = |does: &'static str, field, button| {
        PagePart::Form(PageForm {
            to: HERE.path().to_owned(),
            is_question: false,
            hidden: vec![("do", does.to_owned())],
            fields: vec![field],
            button,
            is_grave: true,
            is_checked: false,
        })
    };
    let content = PageContent {
        name: "manage-sessions",
        title: "Seats and sessions".to_owned(),
        lead: summary(&seats),
        is_live: true,
        links: vec![],
        parts: vec![
            PagePart::Facts(facts(&seats, &reserved)),
            PagePart::Form(search),
            PagePart::List(list),
            PagePart::Heading("End sessions"),
            end("end-user", FormField::line("login", "Login", "", "").required(), "End all sessions of this user"),
            end(
                "end-app",
                FormField::line("uri", "ApplicationUri", "", "").required(),
                "End all sessions of this application",
            ),
        ],
    };
    Ok(admin.page(HERE, content, said))
}

/// The seats of the last day, as text and as a chart.
pub(super) fn chart(seats: &SeatsView, counts: Vec<(Timestamp, u64)>) -> Chart {
    let points: Vec<u64> = counts.into_iter().map(|(_, used)| used).collect();
    let most = points.iter().max().copied().unwrap_or_default();
    let said = match seats.seats {
        Some(total) => format!("Peak usage in the last 24 hours: {most} of {total} seats (measured every 15 minutes)."),
        None => format!("Peak usage in the last 24 hours: {most} seats (measured every 15 minutes)."),
    };
    Chart { said, points, limit: seats.seats.map(u64::from) }
}

pub(super) fn summary(seats: &SeatsView) -> String {
    match seats.seats {
        Some(total) => format!("{} of {total} seats in use.", seats.used),
        None => format!("{} seats in use, unlimited.", seats.used),
    }
}

fn facts(seats: &SeatsView, reserved: &[(Login, bool)]) -> Vec<(&'static str, Cell)> {
    let total = seats.seats.map_or_else(|| "unlimited".to_owned(), |total| total.to_string());
    let holder = |(login, holds): &(Login, bool)| format!("{login}{}", if *holds { "" } else { " (free)" });
    let reserved: Vec<String> = reserved.iter().map(holder).collect();
    vec![
        ("Seats", Cell::text(total).link(AdminSection::Settings.path())),
        ("In use", Cell::text(seats.used.to_string())),
        ("Reserved for", Cell::text(if reserved.is_empty() { "none".to_owned() } else { reserved.join(", ") })),
    ]
}

fn line(row: &ApiSessionRow, register: &ApplicationRegister, now: Timestamp) -> ListRow {
    let uri = |id: &ApplicationId| register.by_id(*id).map(|known| known.uri.as_str().to_owned());
    let applications: Vec<String> = row.applications.iter().filter_map(uri).collect();
    let by = match row.key {
        SessionKey::SignIn(_) => "sign-in",
        SessionKey::Service(_) => "service token",
        SessionKey::Reference(_) => "reference token",
        SessionKey::Basic(..) => "Basic",
        SessionKey::ErpLogin(..) => "ErpLogin",
    };
    let login = row.login.as_str();
    ListRow {
        cells: vec![
            Cell::text(login).link(format!("{}/{}", AdminSection::Users.path(), row.user)),
            Cell::code(applications.join(" ")),
            Cell::text(by),
            Cell::time(DisplayTime(row.opened_at)),
            Cell::time(DisplayTime(row.last_call)),
            Cell::text(row.calls.to_string()),
            Cell::code(&row.address),
            Cell::text(row.seat.as_str()),
            Cell::text(format!("{} min", row.ends_at.since(now).as_secs().div_ceil(60))),
        ],
        button: Some(Button {
            does: "end",
            id: row.id.to_string(),
            text: "End",
            about: format!("the session of {login}"),
        }),
    }
}

pub(super) async fn end(mut admin: AdminPage, headers: HeaderMap, body: Body) -> Response {
    let form = match admin.form(&headers, body).await {
        Ok(form) => form,
        Err(page) => return page,
    };
    let answer = ended(&mut admin, &form).await;
    admin.answer(answer)
}

async fn ended(admin: &mut AdminPage, form: &Params) -> PageResult {
    let text = |name: &str| form.get(name).unwrap_or_default().trim();
    let ending = match form.get("do") {
        Some("end") => match id(form.get("id")) {
            Some(id) => SessionSelector::One(ApiSessionId(id)),
            None => return Ok(admin.gone()),
        },
        Some("end-user") => SessionSelector::OfUser(text("login")),
        Some("end-app") => SessionSelector::OfApplication(text("uri")),
        _ => return Ok(admin.gone()),
    };
    let (service, mut moment) = admin.open();
    match (service.end_sessions(ending, &mut moment).await?, ending) {
        // A session that ended meanwhile counts as ended by the administrator.
        (Ok(_), _) | (Err(AdminRefusal::Unknown(_)), SessionSelector::One(_)) => Ok(done(HERE.path())),
        (Err(refusal), _) => {
            let nothing = Params::parse(b"").expect("nothing is readable");
            board(admin, &nothing, refused(refusal)).await
        }
    }
}
