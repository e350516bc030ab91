//! Operations on Trusted Applications and their secrets.

use model::application::Secret;
use model::application::record::{ApplicationRecord, RecordClientType};
use model::{ApplicationId, TrustedApplication};
use oauth::secret::Presented;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Answer;
use crate::admin::AdminRefusal;
use crate::admin::act::AdminAct;
use crate::admin::draw_secret;
use crate::admin::merge_patch::MergePatch;
use crate::admin::operations::{
    AdminOperation, AnySignIn, ExpectedVersion, ListPage, OperationContext, OperationEntry, RecentSignIn, Time, granted,
};

pub(super) const OPERATIONS: &[OperationEntry] = &[
    OperationEntry::of::<ListApplications>(),
    OperationEntry::of::<CreateApplication>(),
    OperationEntry::of::<GetApplication>(),
    OperationEntry::of::<ReplaceApplication>(),
    OperationEntry::of::<PatchApplication>(),
    OperationEntry::of::<AddSecret>(),
    OperationEntry::of::<RemoveSecret>(),
];

/// A registered application.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Application")]
pub struct ApplicationEntry {
    pub id: Uuid,
    pub record: ApplicationRecord,
    /// Active and expired secrets. Their values are shown only once, on creation.
    pub secrets: Vec<SecretEntry>,
    /// Why the stored record is invalid. The application is disabled until it is corrected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// Warnings about the change just made. Absent when the application is read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(skip)]
    pub version: i64,
}

impl ApplicationEntry {
    fn of(application: &TrustedApplication, warnings: Vec<String>) -> Self {
        Self {
            id: application.id.0,
            record: application.to_record(),
            secrets: application.secrets().iter().map(SecretEntry::from).collect(),
            problems: application.problems().to_vec(),
            warnings,
            version: application.version,
        }
    }

    fn as_read(application: &TrustedApplication) -> Self {
        Self::of(application, Vec::new())
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretEntry {
    pub id: String,
    pub label: String,
    pub created_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

impl From<&Secret> for SecretEntry {
    fn from(secret: &Secret) -> Self {
        Self {
            id: secret.id.clone(),
            label: secret.label.clone(),
            created_at: secret.created_at.into(),
            expires_at: secret.expires_at.map(Time::from),
        }
    }
}

/// The next applications after an `ApplicationUri`, or the one with a URI.
pub struct ApplicationQuery {
    pub uri: Option<String>,
    pub after: String,
    pub limit: u32,
}

pub struct ListApplications;

impl AdminOperation for ListApplications {
    const NAME: &'static str = "listApplications";
    const SUMMARY: &'static str = "List applications";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = ApplicationQuery;
    type Output = ListPage<ApplicationEntry>;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        ApplicationQuery { uri, after, limit }: ApplicationQuery,
    ) -> Answer<ListPage<ApplicationEntry>, AdminRefusal> {
        let rows = match &uri {
            Some(uri) => context.service.application(uri).await?.into_iter().collect(),
            None => context.service.applications_after(&after, limit + 1).await?,
        };
        let key = |row: &TrustedApplication| row.uri.as_str().to_owned();
        Ok(Ok(ListPage::of(rows, limit, key, |row| ApplicationEntry::as_read(&row))))
    }
}

/// A new application, with its first secret if it is Confidential.
#[derive(Serialize, JsonSchema)]
pub struct NewApplication {
    pub application: ApplicationEntry,
    /// Shown only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

pub struct CreateApplication;

impl AdminOperation for CreateApplication {
    const NAME: &'static str = "createApplication";
    const SUMMARY: &'static str = "Register an application";
    const ACTS: &'static [AdminAct] = &[AdminAct::CreateApplication];
    type Authority = RecentSignIn;
    type Input = ApplicationRecord;
    type Output = NewApplication;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        record: ApplicationRecord,
    ) -> Answer<NewApplication, AdminRefusal> {
        let is_confidential = record.client_type == RecordClientType::Confidential;
        let secret = is_confidential.then(|| draw_secret(&mut context.moment));
        let created = context.service.create_application(record, secret.as_ref(), &mut context.moment).await?;
        Ok(created.map(|(application, warnings)| NewApplication {
            application: ApplicationEntry::of(&application, warnings),
            secret: secret.as_ref().map(Presented::expose).map(str::to_owned),
        }))
    }
}

pub struct GetApplication;

impl AdminOperation for GetApplication {
    const NAME: &'static str = "getApplication";
    const SUMMARY: &'static str = "Get an application";
    const ACTS: &'static [AdminAct] = &[];
    type Authority = AnySignIn;
    type Input = ApplicationId;
    type Output = ApplicationEntry;

    async fn run(
        context: &mut OperationContext<'_, AnySignIn>,
        id: ApplicationId,
    ) -> Answer<ApplicationEntry, AdminRefusal> {
        let found = context.service.application_by_id(id).await?;
        Ok(found.map(|application| ApplicationEntry::as_read(&application)))
    }
}

/// A record in the place of another.
pub struct ApplicationReplacement {
    pub id: ApplicationId,
    pub expected: ExpectedVersion,
    pub record: ApplicationRecord,
}

pub struct ReplaceApplication;

impl AdminOperation for ReplaceApplication {
    const NAME: &'static str = "replaceApplication";
    const SUMMARY: &'static str = "Replace an application. Omitted attributes are reset to their defaults";
    const ACTS: &'static [AdminAct] =
        &[AdminAct::ChangeApplication, AdminAct::EnableApplication, AdminAct::DisableApplication];
    type Authority = RecentSignIn;
    type Input = ApplicationReplacement;
    type Output = ApplicationEntry;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        ApplicationReplacement { id, expected, record }: ApplicationReplacement,
    ) -> Answer<ApplicationEntry, AdminRefusal> {
        let current = granted!(context.service.application_by_id(id).await?);
        granted!(expected.check(current.version));
        let changed = context.service.change_application(&current, record, &mut context.moment).await?;
        Ok(changed.map(|(application, warnings)| ApplicationEntry::of(&application, warnings)))
    }
}

/// A change of an application's record.
pub struct ApplicationChange {
    pub id: ApplicationId,
    pub expected: ExpectedVersion,
    pub changes: MergePatch<ApplicationRecord>,
}

pub struct PatchApplication;

impl AdminOperation for PatchApplication {
    const NAME: &'static str = "patchApplication";
    const SUMMARY: &'static str = "Update an application. Only the given attributes change";
    const ACTS: &'static [AdminAct] =
        &[AdminAct::ChangeApplication, AdminAct::EnableApplication, AdminAct::DisableApplication];
    type Authority = RecentSignIn;
    type Input = ApplicationChange;
    type Output = ApplicationEntry;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        ApplicationChange { id, expected, changes }: ApplicationChange,
    ) -> Answer<ApplicationEntry, AdminRefusal> {
        let current = granted!(context.service.application_by_id(id).await?);
        granted!(expected.check(current.version));
        if let Some(is_enabled) = changes.only_flag("IsEnabled") {
            let switched = context.service.switch_application(current, is_enabled, &mut context.moment).await?;
            return Ok(switched.map(|application| ApplicationEntry::as_read(&application)));
        }
        let record = granted!(changes.apply_to(current.record_as_stored()));
        let changed = context.service.change_application(&current, record, &mut context.moment).await?;
        Ok(changed.map(|(application, warnings)| ApplicationEntry::of(&application, warnings)))
    }
}

/// A client secret to add.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretWish {
    /// What the secret is for.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[^\x00-\x1f\x7f]*\S[^\x00-\x1f\x7f]*$"))]
    pub label: String,
    /// When the secret expires. Omit for no expiry.
    #[serde(default)]
    pub expires_at: Option<Time>,
}

/// A client secret to add to an application.
pub struct SecretFor {
    pub application: ApplicationId,
    pub wish: SecretWish,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NewSecret")]
pub struct AddedSecret {
    pub id: String,
    /// Shown only once.
    pub secret: String,
    /// The application.
    #[serde(skip)]
    pub application: Uuid,
}

pub struct AddSecret;

impl AdminOperation for AddSecret {
    const NAME: &'static str = "addSecret";
    const SUMMARY: &'static str = "Add a client secret. Existing secrets stay valid";
    const ACTS: &'static [AdminAct] = &[AdminAct::AddSecret];
    type Authority = RecentSignIn;
    type Input = SecretFor;
    type Output = AddedSecret;

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        SecretFor { application, wish }: SecretFor,
    ) -> Answer<AddedSecret, AdminRefusal> {
        let application = granted!(context.service.application_by_id(application).await?);
        let what = (wish.label.as_str(), wish.expires_at.map(|time| time.0));
        let added = context.service.add_secret_to(&application, what, &mut context.moment).await?;
        let (secret, shown) = granted!(added);
        let secret = AddedSecret { id: secret.id, secret: shown.expose().to_owned(), application: application.id.0 };
        Ok(Ok(secret))
    }
}

/// A secret of an application.
pub struct SecretOf {
    pub application: ApplicationId,
    pub secret: String,
}

pub struct RemoveSecret;

impl AdminOperation for RemoveSecret {
    const NAME: &'static str = "removeSecret";
    const SUMMARY: &'static str = "Remove a client secret. The last one cannot be removed";
    const ACTS: &'static [AdminAct] = &[AdminAct::RemoveSecret];
    type Authority = RecentSignIn;
    type Input = SecretOf;
    type Output = ();

    async fn run(
        context: &mut OperationContext<'_, RecentSignIn>,
        SecretOf { application, secret }: SecretOf,
    ) -> Answer<(), AdminRefusal> {
        let application = granted!(context.service.application_by_id(application).await?);
        context.service.remove_secret(&application, &secret, &mut context.moment).await
    }
}
