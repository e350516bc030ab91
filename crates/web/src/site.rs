//! Public data of an instance: landing page, auto-discovery, version, health.

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::get;
use flows::Instance;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::User;
use serde_json::json;

use crate::health;
use crate::messages::{LabelledText, Messages};
use crate::pages;
use crate::pages::LandingPage;
use crate::request::context::{AppState, PublicContext};
use crate::request::cors;
use crate::request::cors::CorsReaders;
use crate::request::render;
use crate::request::render::FormTarget;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(crate) fn router() -> Router<Arc<AppState>> {
    Router::new()
        .route("/", get(landing))
        .merge(health::router(health::InstanceNames::Hidden))
        .route("/tools/auto-discovery", get(auto_discovery).options(preflight))
        .route("/sys/auto-discovery", get(auto_discovery).options(preflight))
        .route("/tools/ver", get(async || render::text(StatusCode::OK, VERSION)))
        .route("/tools/server-info", get(server_info))
}

/// The page of the signed-in user.
pub(crate) const ACCOUNT: &str = "/id/account";

/// A site of an instance, as in auto-discovery and on the landing page.
pub(crate) struct SiteEntry {
    kind: &'static str,
    url: String,
    /// The path of its page below the root URL. `None` for sites that only applications call.
    page: Option<&'static str>,
    works: bool,
}

impl SiteEntry {
    /// True if this user has access.
    pub(crate) fn is_for(&self, user: &User) -> bool {
        user.is_admin() || self.kind != "InstanceManager"
    }

    fn messages(&self, messages: &Messages) -> LabelledText {
        match self.kind {
            "ID" => messages.landing.id,
            "UserProfile" => messages.landing.profile,
            "InstanceManager" => messages.landing.manager,
            _ => messages.landing.domain_api,
        }
    }
}

pub(crate) fn sites(instance: &Instance) -> Vec<SiteEntry> {
    let root = instance.info.root.as_str();
    let entry = |kind, path: &str, page, works| SiteEntry { kind, url: format!("{root}{path}"), page, works };
    vec![
        entry("ID", "/id", Some(ACCOUNT), true),
        entry("DomainAPI", "/api", None, true),
        entry("UserProfile", "/profile", Some("/profile"), true),
        entry("InstanceManager", "/manage", Some("/manage"), true),
    ]
}

/// The sites with pages, except the one at `here`.
pub(crate) fn as_lines(sites: &[SiteEntry], here: &str, messages: &'static Messages) -> Vec<pages::SiteLink<'static>> {
    let others = sites.iter().filter(|site| site.works);
    let line = |site: &SiteEntry| {
        let (name, description) = site.messages(messages);
        site.page.map(|url| pages::SiteLink { name, description, url })
    };
    others.filter_map(line).filter(|line| line.url != here).collect()
}

async fn landing(PublicContext(context): PublicContext) -> Response {
    let sites = sites(&context.instance);
    let page = LandingPage {
        messages: context.messages(),
        instance_name: &context.instance.info.name,
        sites: &as_lines(&sites, "/", context.messages()),
        version: VERSION,
    };
    render::page(StatusCode::OK, &page, FormTarget::Ourselves)
}

/// `identity.md` §3.6: clients of the documented system rely on member names and values.
async fn auto_discovery(PublicContext(context): PublicContext, headers: HeaderMap) -> Response {
    let instance = &context.instance;
    let sites: Vec<_> = sites(instance)
        .into_iter()
        .map(|site| {
            let properties =
                (site.kind == "DomainAPI").then(|| json!({ "ODataServiceRoot": instance.info.service_root }));
            json!({
                "Type": site.kind,
                "Status": if site.works { "Working" } else { "NotWorking" },
                "StatusDescription": if site.works { None } else { Some("not installed") },
                "Url": site.url,
                "System": site.kind == "ID",
                "AdditionalProperties": properties,
            })
        })
        .collect();
    let host = instance.info.root.as_str().split_once("//").map_or("", |(_, host)| host);
    let mut response =
        render::json(StatusCode::OK, &json!({ "Host": host, "DbName": instance.info.name, "WebSites": sites }));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=60"));
    cors::share(CorsReaders::Anybody, &headers, response)
}

async fn preflight(_: PublicContext, headers: HeaderMap) -> Response {
    cors::preflight(CorsReaders::Anybody, &headers)
}

async fn server_info(PublicContext(context): PublicContext) -> Response {
    let info = json!({
        "version": VERSION,
        "downloads": {},
        "internalApi": { "domainApi": context.instance.info.service_root, "identity": context.instance.info.issuer },
    });
    render::json(StatusCode::OK, &info)
}
