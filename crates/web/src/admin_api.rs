//! `{root}/manage/api/v1`: administration for programs (`docs/admin-api.md`), by the same flows as the command line.
//! Answers are JSON; nothing redirects, and pages of other origins cannot read them.

mod applications;
mod audit;
mod consents;
mod document;
mod input;
mod keys;
mod operation;
mod output;
mod problem;
mod refusals;
mod roles;
mod sessions;
mod settings;
mod tokens;
mod users;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, Request, State};
use axum::response::Response;
use axum::routing::any;
use flows::admin::admission::AdminCallReport;
use flows::protocol::guard::TokenRefusal;
use flows::server::InstanceAdmin;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use model::Rng;
use model::reference_token::is_reference_token;
use model::refusal::{FailedRequest, Refusal};
use oauth::bearer::{self, BearerError};
use oauth::secret::{AccessToken, Presented};

use self::operation::{AdminCall, Operation, OperationError, OperationRequest, OperationResult};
use self::problem::Problem;

use crate::request::context::{AppState, PublicContext, RequestContext};
use crate::request::{body, scope};

pub(crate) const PREFIX: &str = "/manage/api/v1";

/// Enough for the largest record.
const LARGEST_BODY: usize = 256 * 1024;

/// All operations, in the order of the document.
static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    let parts = [
        applications::operations(),
        users::operations(),
        roles::operations(),
        consents::operations(),
        tokens::operations(),
        sessions::operations(),
        keys::operations(),
        settings::operations(),
        audit::operations(),
        refusals::operations(),
    ];
    parts.into_iter().flatten().collect()
});

pub(crate) fn router() -> Router<Arc<AppState>> {
    let mut paths: Vec<&'static str> = OPERATIONS.iter().map(|operation| operation.path).collect();
    paths.sort_unstable();
    paths.dedup();
    let described = Router::new()
        .route(PREFIX, axum::routing::get(document::page))
        .route(&format!("{PREFIX}/"), axum::routing::get(document::page))
        .route(&format!("{PREFIX}/openapi.json"), axum::routing::get(document::open_api))
        .route(&format!("{PREFIX}/{{*rest}}"), any(nothing_here));
    paths.into_iter().fold(described, |router, path| {
        let answer = move |State(state), context, params, request| call(path, state, context, params, request);
        router.route(&format!("{PREFIX}{path}"), any(answer))
    })
}

async fn nothing_here(PublicContext(context): PublicContext) -> Response {
    Problem::NotFound("There is no operation at this path.".to_owned()).response(&context)
}

/// Answers a call. A read may be cancelled with its connection; a change runs to its end, audit included.
async fn call(
    path: &'static str,
    state: Arc<AppState>,
    context: RequestContext,
    params: RawPathParams,
    request: Request,
) -> Response {
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let here = || OPERATIONS.iter().filter(|operation| operation.path == path);
    let Some(operation) = here().find(|operation| operation.method == *method) else {
        let allowed: Vec<&str> = here().map(|operation| operation.method.as_str()).collect();
        return problem::method_not_allowed(&context, &allowed.join(", "));
    };
    let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (mut parts, body) = request.into_parts();
    let rng = state.server.platform().rng();
    if operation.method == Method::GET {
        guarded(context, operation, rng, params, parts, body).await
    } else {
        scope::finish(parts.extensions.remove(), guarded(context, operation, rng, params, parts, body)).await
    }
}

async fn guarded(
    mut context: RequestContext,
    operation: &'static Operation,
    rng: Box<dyn Rng>,
    params: BTreeMap<String, String>,
    parts: Parts,
    body: Body,
) -> Response {
    let (manager, answer) = match admit(&mut context, &parts.headers).await {
        Err(refused) => (None, Err(refused)),
        Ok(manager) => {
            let manager = Arc::new(manager);
            let call = AdminCall { manager: Arc::clone(&manager), now: context.now, rng };
            let answer = perform(call, operation, params, &parts, body).await;
            (Some(manager), answer)
        }
    };
    let (response, refused): (Response, Option<Box<dyn Refusal + Send>>) = match answer {
        Ok(response) => (response, None),
        Err(OperationError::Fault(fault)) => (problem::fault(&context, &fault), Some(Box::new(FailedRequest))),
        Err(OperationError::Problem(problem)) => (problem.response(&context), Some(Box::new(problem))),
    };
    let call = AdminCallReport {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        status: response.status().as_u16(),
        admin: manager.as_deref().map(|admin| (&*admin.user, admin.application.as_deref())),
        refused: refused.as_deref().map(|refused| -> &dyn Refusal { refused }),
    };
    match context.instance.audit_admin_call(context.now, &context.request, &call) {
        Ok(()) => response,
        Err(fault) => problem::fault(&context, &fault),
    }
}

async fn admit(context: &mut RequestContext, headers: &HeaderMap) -> OperationResult<InstanceAdmin> {
    let token = credential(headers)?;
    let (instance, mut ctx) = context.split();
    let answer = instance.admit_admin(&mut ctx, &token).await?;
    answer.map_err(|refusal| Problem::Manage(refusal).into())
}

/// The access token or reference token of the call, in exactly one header.
fn credential(headers: &HeaderMap) -> Result<Presented<AccessToken>, Problem> {
    const KEY_HEADERS: [&str; 2] = ["x-api-key", "api-key"];
    let names = [header::AUTHORIZATION.as_str(), KEY_HEADERS[0], KEY_HEADERS[1]];
    if names.iter().map(|name| headers.get_all(*name).iter().count()).sum::<usize>() > 1 {
        return Err(Problem::BadCredential("Send exactly one credential, in one header."));
    }
    let malformed = |length| Problem::from(TokenRefusal::Malformed { length });
    if let Some(key) = KEY_HEADERS.iter().find_map(|name| headers.get(*name)) {
        let shown = key.to_str().ok().filter(|key| is_reference_token(key));
        return shown.map(Presented::new).ok_or_else(|| malformed(key.len()));
    }
    let authorization = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    bearer::token(authorization).map_err(|error| match error {
        BearerError::Missing | BearerError::OtherScheme => Problem::NoCredential,
        BearerError::Malformed | BearerError::TooLong => malformed(authorization.map_or(0, <[u8]>::len)),
    })
}

async fn perform(
    call: AdminCall,
    operation: &Operation,
    path: BTreeMap<String, String>,
    parts: &Parts,
    body: Body,
) -> OperationResult<Response> {
    let body = body::read(&parts.headers, body, LARGEST_BODY).await.map_err(Problem::from)?;
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let asked = OperationRequest { path, query, headers: parts.headers.clone(), body };
    (operation.run)(call, &asked)?.await
}
