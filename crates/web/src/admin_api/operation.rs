//! One operation of the admin API. Types define its input and output, and the document is generated from them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use flows::Fault;
use flows::admin::AdminRefusal;
use flows::admin::admission::AdmissionRefusal;
use flows::admin::operations::{AdminAuthority as _, AdminOperation, OperationEntry};
use flows::server::InstanceAdmin;
use http::{HeaderMap, Method};
use model::{Moment, Rng, Timestamp};
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::admin_api::problem::Problem;

/// An administrator's call: the administrator, the clock reading and the randomness of one request.
pub(super) struct AdminCall {
    pub(super) manager: Arc<InstanceAdmin>,
    pub(super) now: Timestamp,
    pub(super) rng: Box<dyn Rng>,
}

fn describe_recent_sign_in(description: &mut OperationDescription<'_>) {
    let told = "The token is missing or invalid, or its user signed in more than ten minutes ago \
                (`insufficient_user_authentication`, RFC 9470). Sign in again with `max_age=600`.";
    description.answers.insert(401, problem_answer(told));
}

/// The request as it arrived.
pub(super) struct OperationRequest {
    /// The variable parts of the path, decoded.
    pub(super) path: BTreeMap<String, String>,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The reason for which an operation failed.
pub(super) enum OperationError {
    Problem(Problem),
    Fault(Fault),
}

impl From<Problem> for OperationError {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<AdminRefusal> for OperationError {
    fn from(refusal: AdminRefusal) -> Self {
        Self::Problem(Problem::Admin(refusal))
    }
}

impl From<Fault> for OperationError {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

pub(super) type OperationResult<T> = Result<T, OperationError>;

/// The description of one operation (OpenAPI 3.1 §4.8.10), filled in by its inputs and output.
pub(super) struct OperationDescription<'a> {
    pub(super) schemas: &'a mut SchemaGenerator,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    /// By HTTP status.
    pub(super) answers: BTreeMap<u16, Value>,
}

/// An input of an operation, read from a request.
pub(super) trait OperationInput: Sized {
    fn read(asked: &OperationRequest) -> Result<Self, Problem>;

    fn describe(description: &mut OperationDescription<'_>);
}

/// The output of an operation.
pub(super) trait OperationOutput {
    fn response(self) -> Response;

    fn describe(description: &mut OperationDescription<'_>);
}

impl OperationInput for () {
    fn read(_: &OperationRequest) -> Result<Self, Problem> {
        Ok(())
    }

    fn describe(_: &mut OperationDescription<'_>) {}
}

macro_rules! inputs {
    ($($part:ident)+) => {
        impl<$($part: OperationInput),+> OperationInput for ($($part,)+) {
            fn read(asked: &OperationRequest) -> Result<Self, Problem> {
                Ok(($($part::read(asked)?,)+))
            }

            fn describe(description: &mut OperationDescription<'_>) {
                $($part::describe(description);)+
            }
        }
    };
}

inputs! { A B }
inputs! { A B C }

type OperationFuture = Pin<Box<dyn Future<Output = OperationResult<Response>> + Send>>;

/// Reads the inputs, then starts the operation.
type Run = dyn Fn(AdminCall, &OperationRequest) -> Result<OperationFuture, Problem> + Send + Sync;

/// A refusal that only this operation has.
pub(super) fn problem_answer(told: &str) -> Value {
    let schema = json!({ "$ref": "#/components/schemas/Problem" });
    json!({ "description": told, "content": { "application/problem+json": { "schema": schema } } })
}

/// A method at a path below the API's root.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) describe: fn(&mut OperationDescription<'_>),
    pub(super) run: Box<Run>,
}

/// Binds an operation of the table to a method and a path. `read` makes its input of the request's parts, `answer` its
/// answer of the output.
pub(super) fn bind<O, I, A>(
    method: Method,
    path: &'static str,
    read: fn(I) -> Result<O::Input, Problem>,
    answer: fn(O::Output) -> A,
) -> Operation
where
    O: AdminOperation<Input: 'static> + 'static,
    I: OperationInput + 'static,
    A: OperationOutput + 'static,
{
    Operation {
        method,
        path,
        name: O::NAME,
        summary: O::SUMMARY,
        describe: |description| {
            I::describe(description);
            A::describe(description);
            if O::Authority::NEEDS_RECENT_SIGN_IN {
                describe_recent_sign_in(description);
            }
        },
        run: Box::new(move |call, asked| {
            let too_old = |old| Problem::Manage(AdmissionRefusal::SignInTooOld(old));
            O::Authority::of(call.manager.service(), call.now).map_err(too_old)?;
            let input = read(I::read(asked)?)?;
            Ok(Box::pin(async move {
                let AdminCall { manager, now, mut rng } = call;
                let moment = Moment { now, rng: &mut *rng };
                let mut context = manager.context::<O::Authority>(moment).map_err(too_old)?;
                let output = O::run(&mut context, input).await??;
                Ok(answer(output).response())
            }))
        }),
    }
}

/// Binds an operation that answers a file.
pub(super) fn file_operation<I: OperationInput + 'static, A: OperationOutput + 'static>(
    entry: &'static OperationEntry,
    path: &'static str,
    handler: fn(AdminCall, I) -> A,
) -> Operation {
    Operation {
        method: Method::GET,
        path,
        name: entry.name,
        summary: entry.summary,
        describe: |description| {
            I::describe(description);
            A::describe(description);
        },
        run: Box::new(move |call, asked| {
            let file = handler(call, I::read(asked)?).response();
            Ok(Box::pin(std::future::ready(Ok(file))))
        }),
    }
}
