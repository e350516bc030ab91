use std::pin::Pin;

use super::{Scene, api, background, people, register, sign_in, tokens};

/// One flow of an unauthenticated client, application, user, administrator or background task: it prepares, acts, and
/// checks what holds afterwards.
pub struct Flow {
    pub name: &'static str,
    pub group: Group,
    pub run: Run,
}

/// Flows that cannot run beside others: they move the clock, process reset requests of others, end or change state that
/// others use, or leave an image decoder at work when their caller disconnects.
const ALONE: &[&str] = &[
    "leased_guess",
    "set_up_app",
    "prove_code",
    "recovery_code",
    "new_recovery_codes",
    "remove_app",
    "ask_for_password_reset",
    "reset_password",
    "know_browser",
    "rotate_key",
    "replace_keys",
    "rotate_key_by_command",
    "tick",
    "close_due_sessions",
    "seal_and_sign",
    "keep_keys",
    "tidy",
    "follow",
    "change_settings",
    "change_setting_by_command",
    "choose_picture",
    "remove_picture",
];

impl Flow {
    /// Whether it may run beside other flows on one server.
    pub fn shares(&self) -> bool {
        !ALONE.contains(&self.name)
    }
}

type Run = for<'a> fn(&'a mut Scene<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Flows that are tested together, on servers of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    SignIn,
    Tokens,
    Api,
    People,
    Register,
    Background,
}

macro_rules! flows {
    ($($group:ident in $module:ident: $($name:ident)*;)*) => {
        const ALL: &[Flow] = &[$($(
            Flow { name: stringify!($name), group: Group::$group, run: |scene| Box::pin($module::$name(scene)) },
        )*)*];
    };
}

flows! {
    SignIn in sign_in:
        password_sign_in leased_guess authorize_and_consent authorize_again sign_out set_up_app prove_code recovery_code
        new_recovery_codes remove_app set_up_passkey passkey_sign_in remove_passkey;
    Tokens in tokens:
        code_exchange refresh repeated_refresh reused_refresh client_credentials revoke_refresh_token revoke_access_token
        revoke_service_token revoke_reference_token report_leaked_token introspect user_info;
    Api in api:
        first_call later_call create_entity change_entity delete_entity log_in_by_erp_login call_by_erp_session
        call_by_basic first_call_by_reference_token make_personal_token revoke_personal_token;
    People in people:
        change_password ask_for_password_reset reset_password know_browser ask_for_new_address agree_by_new_address
        agree_by_old_address choose_picture remove_picture withdraw_consent end_other_sign_ins choose_language;
    Register in register:
        create_application disable_application change_algorithm replace_application add_secret remove_secret create_user
        disable_user set_password invite_user administrator_withdraws_consent create_role change_role delete_role
        change_settings rotate_key replace_keys end_one_session end_sessions_of_user issue_service_token
        administrator_revokes_token install_application disable_application_by_command disable_user_by_command
        set_password_by_command erase_user create_user_by_command create_role_by_command end_sessions_by_command
        change_setting_by_command rotate_key_by_command renew_audit_key;
    Background in background: tick close_due_sessions seal_and_sign keep_keys tidy follow;
}

pub fn all() -> &'static [Flow] {
    ALL
}
