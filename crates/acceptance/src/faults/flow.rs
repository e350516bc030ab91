use std::pin::Pin;

use super::{Scene, api, background, people, register, sign_in, tokens};

/// What strangers, applications, people, administrators and background tasks do, from its preparation to the look at what
/// holds afterwards.
pub struct Flow {
    pub name: &'static str,
    pub group: Group,
    pub run: Run,
}

type Run = for<'a> fn(&'a mut Scene<'_>) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Flows that are tested together, on houses of their own.
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
    SignIn in sign_in: password_sign_in;
    Tokens in tokens: code_exchange refresh client_credentials;
    Api in api: first_call;
    People in people: change_password;
    Register in register: disable_application_by_command;
    Background in background: beat;
}

pub fn all() -> &'static [Flow] {
    ALL
}
