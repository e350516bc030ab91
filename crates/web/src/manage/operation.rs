//! One call of the admin API: what it takes and what it answers are types, and so is what the document says of it.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use flows::Fault;
use flows::admin::{AdminRefusal, ElevatedOffice, Office};
use flows::manage::{ManageRefusal, Manager};
use http::{HeaderMap, Method};
use model::{Dice, Moment, Timestamp};
use schemars::SchemaGenerator;
use serde_json::Value;

use super::document::problem_answer;
use super::problem::Problem;

/// An administrator at work: one request's office, clock and dice.
pub(super) struct Desk {
    pub(super) manager: Arc<Manager>,
    pub(super) now: Timestamp,
    pub(super) dice: Box<dyn Dice>,
}

impl Desk {
    pub(super) fn open(&mut self) -> (Office<'_>, Moment<'_>) {
        (self.manager.office(), Moment { now: self.now, dice: &mut *self.dice })
    }
}

/// A [`Desk`] for changes of weight, which need a recent sign-in.
pub(super) struct ElevatedDesk(Desk);

impl Deref for ElevatedDesk {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.0
    }
}

impl ElevatedDesk {
    pub(super) fn open(&mut self) -> (ElevatedOffice<'_>, Moment<'_>) {
        let Desk { manager, now, dice } = &mut self.0;
        let office = manager.elevated_office(*now).expect("it was opened at this moment to make the desk");
        (office, Moment { now: *now, dice: &mut **dice })
    }
}

/// The desk that an operation is done at: its type says what sign-in is needed, here and in the document.
pub(super) trait AtDesk: Sized {
    fn of(desk: Desk) -> Result<Self, Problem>;

    fn describe(description: &mut Description<'_>);
}

impl AtDesk for Desk {
    fn of(desk: Desk) -> Result<Self, Problem> {
        Ok(desk)
    }

    fn describe(_: &mut Description<'_>) {}
}

impl AtDesk for ElevatedDesk {
    fn of(desk: Desk) -> Result<Self, Problem> {
        match desk.manager.elevated_office(desk.now) {
            Ok(_) => Ok(Self(desk)),
            Err(old) => Err(Problem::Manage(ManageRefusal::SignInTooOld(old))),
        }
    }

    fn describe(description: &mut Description<'_>) {
        let told = "The token is missing or invalid, or its user signed in more than ten minutes ago \
                    (`insufficient_user_authentication`, RFC 9470). Sign in again with `max_age=600`.";
        description.answers.insert(401, problem_answer(told));
    }
}

/// What was asked, as it arrived.
pub(super) struct Asked {
    /// The variable parts of the path, decoded.
    pub(super) path: BTreeMap<String, String>,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why an operation did not do what was asked.
pub(super) enum Refused {
    Problem(Problem),
    Fault(Fault),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl From<AdminRefusal> for Refused {
    fn from(refusal: AdminRefusal) -> Self {
        Self::Problem(Problem::Admin(refusal))
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

pub(super) type Outcome<T> = Result<T, Refused>;

/// What a document tells of one operation (OpenAPI 3.1 §4.8.10), as its parts describe themselves.
pub(super) struct Description<'a> {
    pub(super) schemas: &'a mut SchemaGenerator,
    pub(super) parameters: Vec<Value>,
    pub(super) body: Option<Value>,
    /// By status.
    pub(super) answers: BTreeMap<u16, Value>,
}

/// Something an operation takes from a request.
pub(super) trait Input: Sized {
    fn read(asked: &Asked) -> Result<Self, Problem>;

    fn describe(description: &mut Description<'_>);
}

/// Something an operation answers.
pub(super) trait Output {
    fn response(self) -> Response;

    fn describe(description: &mut Description<'_>);
}

impl Input for () {
    fn read(_: &Asked) -> Result<Self, Problem> {
        Ok(())
    }

    fn describe(_: &mut Description<'_>) {}
}

macro_rules! inputs {
    ($($part:ident)+) => {
        impl<$($part: Input),+> Input for ($($part,)+) {
            fn read(asked: &Asked) -> Result<Self, Problem> {
                Ok(($($part::read(asked)?,)+))
            }

            fn describe(description: &mut Description<'_>) {
                $($part::describe(description);)+
            }
        }
    };
}

inputs! { A B }
inputs! { A B C }

type Answering = Pin<Box<dyn Future<Output = Outcome<Response>> + Send>>;

/// Reads what was asked; then the work begins.
type Run = dyn Fn(Desk, &Asked) -> Result<Answering, Problem> + Send + Sync;

/// A method at a path below the API's root.
pub(super) struct Operation {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) summary: &'static str,
    pub(super) describe: fn(&mut Description<'_>),
    pub(super) run: Box<Run>,
}

/// `name` is what generated clients call it (`operationId`).
pub(super) fn operation<D, I, O, F>(
    method: Method,
    path: &'static str,
    (name, summary): (&'static str, &'static str),
    handler: impl Fn(D, I) -> F + Send + Sync + 'static,
) -> Operation
where
    D: AtDesk,
    I: Input + Send + 'static,
    O: Output,
    F: Future<Output = Outcome<O>> + Send + 'static,
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
        run: Box::new(move |desk, asked| {
            let answer = handler(D::of(desk)?, I::read(asked)?);
            Ok(Box::pin(async move { answer.await.map(Output::response) }))
        }),
    }
}
