//! One operation of the admin API. Types define its input and output, and the document is generated from them.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use flows::Fault;
use flows::admin::admission::AdmissionRefusal;
use flows::admin::operations::AdminAuthority as _;
use flows::admin::operations::AdminOperation;
use flows::admin::{AdminRefusal, AdminService, ElevatedAdminService};
use flows::server::InstanceAdmin;
use http::{HeaderMap, Method};
use model::{Moment, Rng, Timestamp};
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::admin_api::problem::Problem;

/// An administrator's call: the admin service, the clock reading and the rng of one request.
pub(super) struct AdminCall {
    pub(super) manager: Arc<InstanceAdmin>,
    pub(super) now: Timestamp,
    pub(super) rng: Box<dyn Rng>,
}

impl AdminCall {
    pub(super) fn open(&mut self) -> (AdminService<'_>, Moment<'_>) {
        (self.manager.service(), Moment { now: self.now, rng: &mut *self.rng })
    }
}

/// An [`AdminCall`] for critical changes, which need a recent sign-in.
pub(super) struct ElevatedAdminCall(AdminCall);

impl Deref for ElevatedAdminCall {
    type Target = AdminCall;

    fn deref(&self) -> &AdminCall {
        &self.0
    }
}

impl ElevatedAdminCall {
    pub(super) fn open(&mut self) -> (ElevatedAdminService<'_>, Moment<'_>) {
        let AdminCall { manager, now, rng } = &mut self.0;
        let service = manager.elevated_service(*now).expect("it was opened at this moment to make the desk");
        (service, Moment { now: *now, rng: &mut **rng })
    }
}

/// The authority that an operation needs. Its type tells, in code and document, whether the sign-in must be recent.
pub(super) trait CallAuthority: Sized {
    fn of(call: AdminCall) -> Result<Self, Problem>;

    fn describe(description: &mut OperationDescription<'_>);
}

impl CallAuthority for AdminCall {
    fn of(call: AdminCall) -> Result<Self, Problem> {
        Ok(call)
    }

    fn describe(_: &mut OperationDescription<'_>) {}
}

impl CallAuthority for ElevatedAdminCall {
    fn of(call: AdminCall) -> Result<Self, Problem> {
        match call.manager.elevated_service(call.now) {
            Ok(_) => Ok(Self(call)),
            Err(old) => Err(Problem::Manage(AdmissionRefusal::SignInTooOld(old))),
        }
    }

    fn describe(description: &mut OperationDescription<'_>) {
        describe_recent_sign_in(description);
    }
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

/// `name` is the `operationId`, which generated clients use as a name.
pub(super) fn operation<D, I, O, F>(
    method: Method,
    path: &'static str,
    name: &'static str,
    summary: &'static str,
    handler: impl Fn(D, I) -> F + Send + Sync + 'static,
) -> Operation
where
    D: CallAuthority,
    I: OperationInput + Send + 'static,
    O: OperationOutput,
    F: Future<Output = OperationResult<O>> + Send + 'static,
{
    Operation {
        method,
        path,
        name,
        summary,
        describe: |description| {
            I::describe(description);
            O::describe(description);
            D::describe(description);
        },
        run: Box::new(move |call, asked| {
            let answer = handler(D::of(call)?, I::read(asked)?);
            Ok(Box::pin(async move { answer.await.map(OperationOutput::response) }))
        }),
    }
}
