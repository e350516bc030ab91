//! `/keys`: the signing keys. They rotate by themselves; this is for those who want it now, or must.

use flows::admin::operations::keys::{ListKeys, PreviewReplacement, ReplaceKeys, RotateKey};
use http::Method;
use oauth::jose::Algorithm;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::admin_api::input::{JsonBody, QueryParams};
use crate::admin_api::operation::{Operation, bind};
use crate::admin_api::output::PlainBody;
use crate::admin_api::problem::Problem;

pub(super) fn operations() -> Vec<Operation> {
    const REPLACEMENT: &str = "/keys/replacement";
    let body = |JsonBody(which): JsonBody<Which>| which.algorithm();
    vec![
        bind::<ListKeys, _, _>(Method::GET, "/keys", |()| Ok(()), PlainBody),
        bind::<RotateKey, _, _>(Method::POST, "/keys/rotation", body, PlainBody),
        bind::<PreviewReplacement, _, _>(
            Method::GET,
            REPLACEMENT,
            |QueryParams(which): QueryParams<Which>| which.algorithm(),
            PlainBody,
        ),
        bind::<ReplaceKeys, _, _>(Method::POST, REPLACEMENT, body, PlainBody),
    ]
}

/// Which keys are meant.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Which {
    /// An algorithm the instance signs with.
    #[schemars(regex(pattern = "^(ES256|RS256|PS256|EdDSA)$"))]
    algorithm: String,
}

impl Which {
    fn algorithm(&self) -> Result<Algorithm, Problem> {
        let unknown = |_| Problem::invalid("algorithm", &"ES256, RS256, PS256 or EdDSA");
        self.algorithm.parse().map_err(unknown)
    }
}
